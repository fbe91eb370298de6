"""Files and folders as documents, and the command line over them."""

import json
import os
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorag_integrations import MemoRAG
from memorag_integrations.cli import main
from memorag_integrations.corpus.text_files import read_file, read_files
from memorag_integrations.errors import InputError
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER, HashEmbedder


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "b.txt").write_text(BAKERY)
    (folder / "a.md").write_text(LIGHTHOUSE)
    (folder / "deep" / "deeper" / "River.MARKDOWN").write_text(RIVER)
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (folder / "code.py").write_text("print()")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret.txt").write_text("not for us")
    (folder / ".secret.txt").write_text("not for us")
    return folder


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_a_folder_every_text_below_it_is_read_in_order(notes):
    found = list(read_files([notes]))
    assert [document.id for document in found] == [
        f"{notes.as_posix()}/{name}" for name in ("a.md", "b.txt", "deep/deeper/River.MARKDOWN")
    ]
    assert found[0].text == LIGHTHOUSE
    assert found[0].metadata == {"path": found[0].id}


def test_a_file_named_by_itself_may_have_any_suffix(notes):
    assert [document.text for document in read_files([str(notes / "code.py")])] == ["print()"]


@pytest.mark.parametrize("again", ["b.txt", ".", "deep/../b.txt", "deep"])
def test_a_path_given_twice_is_read_once(notes, again):
    once = list(read_files([notes]))
    assert list(read_files([notes, notes / again, notes / again])) == once
    assert sorted(d.text for d in read_files([notes / again, notes])) == sorted(d.text for d in once)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("ünïcode".encode(), "ünïcode"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        ("sixteen ü".encode("utf-16"), "sixteen ü"),
        (b"\xfe\xff" + "big".encode("utf-16-be"), "big"),
        (b"windows\r\nlines", "windows\r\nlines"),
    ],
)
def test_encodings(tmp_path, data, text):
    (tmp_path / "f.txt").write_bytes(data)
    assert read_file(tmp_path / "f.txt").text == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("café".encode("latin-1"), r"is not UTF-8 text \(byte 3\)\. Convert it, for example with: iconv -c -f LATIN1"),
        (b"\x89PNG\x00\x00", r"is binary; text was expected\. Convert it"),
        (b"\xff\xfeodd", r"is not UTF-16 text"),
    ],
)
def test_what_is_not_text_is_refused_with_a_remedy(tmp_path, data, message):
    (tmp_path / "f.txt").write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        list(read_files([tmp_path / "f.txt"]))
    assert str(tmp_path / "f.txt") in str(caught.value)


def test_in_a_folder_what_is_not_text_is_passed_over_and_said(notes, caplog):
    (notes / "c.txt").write_bytes("café".encode("latin-1"))
    assert len(list(read_files([notes]))) == 3
    assert "Passed over" in caplog.text
    assert "c.txt" in caplog.text


def test_a_missing_path_is_said(tmp_path):
    with pytest.raises(InputError, match=r"Expected a file or a folder at .*nothing.txt, found nothing"):
        list(read_files([tmp_path / "nothing.txt"]))


def test_a_folder_without_texts_is_said(tmp_path):
    with pytest.raises(InputError, match=r"Expected text files \(\.txt, .*\) below"):
        list(read_files([tmp_path]))


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    file = tmp_path / "f.txt"
    file.write_text("text")
    if os.geteuid() == 0:  # to whom every file is open
        file.unlink()
        file.symlink_to(file)  # a link to itself: ELOOP
    else:
        file.chmod(0)
    with pytest.raises(InputError, match=r"cannot be read \(.*\)\. Check its permissions"):
        list(read_files([file]))


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def stored(notes, tmp_path):
    assert run("memorize", notes, "--store", tmp_path / "notes.memo").exit_code == 0
    return tmp_path / "notes.memo"


def test_the_command_is_installed():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert EntryPoint("memorag", project["scripts"]["memorag"], "console_scripts").load() is main


def test_memorize_says_what_it_did(notes, tmp_path):
    result = run("memorize", notes, "--store", tmp_path / "s", "--passage-size", 200, "--language", "en")
    assert result.exit_code == 0, result.output
    assert "Memorized 3 documents" in result.output
    assert "BM25 alone" in result.output
    assert MemoRAG.load(tmp_path / "s").info()["passage_size"] == 200


def test_memorize_again_replaces_the_store(notes, stored):
    assert run("memorize", notes / "b.txt", "--store", stored).exit_code == 0
    assert json.loads(run("info", "--store", stored, "--json").stdout)["documents"] == 1


def test_retrieve_shows_place_score_and_reason(stored, notes):
    result = run("retrieve", "Which trawler struck the reef?", "--store", stored, "-k", 1)
    assert result.exit_code == 0
    assert f"1. {notes.as_posix()}/a.md[0:{len(LIGHTHOUSE)}]  score 0." in result.stdout
    assert "found by" in result.stdout
    assert "bm25 of query (rank 1)" in result.stdout
    assert LIGHTHOUSE in result.stdout


@pytest.mark.parametrize("mode", ["memorag", "bm25", "hybrid"])
def test_retrieve_as_json(stored, mode):
    result = run("retrieve", "Which trawler struck the reef?", "--store", stored, "--json", "-k", 2, "--mode", mode)
    found = json.loads(result.stdout)
    assert found[0]["text"] == LIGHTHOUSE
    assert len(found) == 2
    assert found == [
        piece.to_json() for piece in MemoRAG.load(stored).retrieve("Which trawler struck the reef?", 2, mode=mode)
    ]


def test_retrieve_obeys_budget_cutoff_and_merge(stored):
    def found(*options):
        return json.loads(run("retrieve", "the alarm", "--store", stored, "--json", *options).stdout)

    assert len(found("--budget", 1)) == 1
    assert found("--cutoff", "1.0") == []
    assert len(found("--merge")) == 3
    assert run("retrieve", "the alarm", "--store", stored, "--cutoff", "1.0").stdout == "Nothing found.\n"


def test_recall(stored):
    result = run("recall", "Which trawler struck the reef?", "--store", stored)
    assert result.exit_code == 0
    assert "1. span: " in result.stdout
    clues = json.loads(run("recall", "Which trawler struck the reef?", "--store", stored, "--json").stdout)["clues"]
    assert any("Silver Hind" in clue["text"] for clue in clues)
    assert run("recall", "zzzz", "--store", stored).stdout == "No clues.\n"


def test_info(stored):
    shown = run("info", "--store", stored).stdout
    facts = json.loads(run("info", "--store", stored, "--json").stdout)
    assert facts == MemoRAG.load(stored).info()
    assert "documents: 3" in shown
    assert "embedder: none (BM25 alone)" in shown


def test_minilm_by_option(notes, tmp_path, minilm):
    result = run("memorize", notes / "b.txt", "--store", tmp_path / "s", "--embedder", "minilm")
    assert result.exit_code == 0, result.output
    assert "BM25 alone" not in result.output
    [piece] = json.loads(run("retrieve", "pastries", "--store", tmp_path / "s", "--json", "--mode", "plain").stdout)
    assert "dense" in piece["raw"]


@pytest.mark.parametrize("command", [None, *main.commands])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_has_examples(command, flag):
    result = run(*([command] if command else []), flag)
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"memorag {command or 'memorize'} " in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["memorize", "{tmp}/nothing", "--store", "{tmp}/s"], "found nothing. Check the path"),
        (["memorize", "{tmp}/binary.txt", "--store", "{tmp}/s"], "is binary; text was expected"),
        (["memorize", "{tmp}/blank.txt", "--store", "{tmp}/s"], "no document holds any text"),
        (["memorize", "{tmp}/good.txt", "--store", "{tmp}/foreign"], "found other files"),
        (["memorize", "{tmp}/good.txt", "--store", "{tmp}/good.txt"], "found a file"),
        (["memorize", "{tmp}/good.txt", "--store", "{tmp}/s", "--language", "English"], "language must be"),
        (["memorize", "{tmp}/good.txt", "--store", "{tmp}/s", "--passage-size", "3"], "passage_size must be"),
        (["memorize", "{tmp}/good.txt", "--store", "{tmp}/s", "--embedder", ""], "embedder must be None"),
        (["retrieve", "query", "--store", "{tmp}/nothing"], "Expected a store folder"),
        (["retrieve", "query", "--store", "{tmp}/foreign"], "memorag memorize PATH"),
        (["retrieve", " ", "--store", "{store}"], "A query must be a text that is not blank"),
        (["retrieve", "x", "--store", "{store}", "-k", "0"], "k must be a whole number"),
        (["retrieve", "x", "--store", "{store}", "--budget", "-1"], "budget must be a whole number"),
        (["retrieve", "x", "--store", "{store}", "--cutoff", "2"], "cutoff must be a score"),
        (["retrieve", "x", "--store", "{store}", "--mode", "plain"], "needs an embedder"),
        (["recall", "", "--store", "{store}"], "A query must be a text that is not blank"),
        (["info", "--store", "{tmp}/foreign"], "Expected a store"),
    ],
)
def test_an_error_is_one_message_without_a_traceback(args, message, tmp_path, stored):
    (tmp_path / "good.txt").write_text("good text")
    (tmp_path / "blank.txt").write_text("  \n")
    (tmp_path / "binary.txt").write_bytes(b"\x00\x01")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("mine")
    result = run(*(arg.format(tmp=tmp_path, store=stored) for arg in args))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit), "no exception came through"
    assert not (tmp_path / "s").exists()
    assert os.listdir(tmp_path / "foreign") == ["mine.txt"]


@pytest.mark.parametrize("args", [["retrieve"], ["memorize", "x"], ["retrieve", "q", "--mode", "dense"], ["unknown"]])
def test_wrong_usage_is_exit_code_two(args):
    result = run(*args)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_a_store_of_a_hosts_embedder_is_said_to_be_one(tmp_path):
    memo = MemoRAG(embedder=HashEmbedder())
    memo.memorize("text", save_dir=tmp_path / "s", progress=False)
    result = run("retrieve", "text", "--store", tmp_path / "s")
    assert result.exit_code == 1
    assert "HashEmbedder" in result.stderr


def test_files_of_other_suffixes_are_left_out_and_counted(tmp_path, caplog):
    (tmp_path / "a.md").write_text("A lamp.", "utf-8")
    (tmp_path / "b.html").write_text("<p>A lamp.</p>", "utf-8")
    (tmp_path / "LICENSE").write_text("A licence.", "utf-8")
    assert [document.text for document in read_files([tmp_path])] == ["A lamp."]
    assert "2 of 3 files" in caplog.text
    assert ".html, no suffix" in caplog.text


def test_an_answer_without_any_language_model_names_the_option(tmp_path):
    (tmp_path / "a.md").write_text("A lamp was lit in the mill.", "utf-8")
    assert CliRunner().invoke(main, ["memorize", str(tmp_path / "a.md"), "--store", str(tmp_path / "s")]).exit_code == 0
    for command in (["answer", "Who lit it?"], ["summarize"]):
        result = CliRunner().invoke(main, [*command, "--store", str(tmp_path / "s")])
        assert result.exit_code == 2
        assert "--model" in result.output
