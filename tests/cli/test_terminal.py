"""No control character of a text, a name, an id, metadata, a query or a reply reaches a terminal or a log raw."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorag_integrations import Document, LLMMemory, MemoRAG
from memorag_integrations.cli import main, terminal
from tests.scripted import ScriptedLLM
from tests.text.test_visible import is_safe

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp\u2066\u200f\x08\x7f\x85\u2028\x00end"
NAME = EVIL.replace("\x00", "")
TEXT = f"The lamp was lit each dusk. {EVIL} Nobody had told the keeper of the lighthouse."
WRITTEN = TEXT.replace("\x00", "")
QUERY = f"Who lit the lamp? {NAME}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of hostile name with files of hostile names and texts, one of them not UTF-8."""
    folder = tmp_path_factory.mktemp("evil") / NAME
    folder.mkdir()
    (folder / f"{NAME}.md").write_text(WRITTEN)
    (folder / "new\n2. forged[0:9] line.txt").write_text(f"{WRITTEN} Again, on another day.")
    (folder / f"{NAME}.bin").write_bytes(b"\xff\xfe")
    (folder / "bad\x1b[31m.txt").write_bytes(b"caf\xe9 \x1b[31m")
    os.mkdir(os.fsencode(str(folder)) + b"/not-utf8")
    (Path(os.fsdecode(os.fsencode(str(folder)) + b"/not-utf8/\xff\x1b.txt"))).write_text(WRITTEN)
    return folder


@pytest.fixture(scope="module")
def store(folder):
    """A store of hostile name, text, ids and metadata, and the ids."""
    path = folder.parent / f"store {NAME}"
    ids = [f"id {NAME}", "one\n2. forged[0:9]  score 0.999", "plain"]
    memo = MemoRAG(passage_size=200)
    memo.memorize(
        [Document(f"{TEXT} {n}", id, {NAME: NAME}) for n, id in enumerate(ids)], save_dir=path, progress=False
    )
    return path, ids


def run(*arguments):
    """The exit code and what a command prints, on both streams."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    for stream in (done.stdout_bytes, done.stderr_bytes):
        text = stream.decode("utf-8")
        assert is_safe(text), re.findall(
            r"[^\n]*[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069][^\n]*", text
        )
    return done


def test_recall_and_retrieve(store):
    path, _ids = store
    assert "\\x1b[2J" in run("recall", QUERY, "--store", path).stdout
    found = run("retrieve", QUERY, "--store", path, "-k", 3).stdout
    assert "\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202egnp\\u2066\\u200f" in found
    heads = [line for line in found.splitlines() if "  score " in line and "found by" in line]
    assert len(heads) == len([line for line in found.splitlines() if re.match(r"\d+\. ", line)]), "an id forges no line"
    assert f"id {NAME}" in {
        piece["document_id"] for piece in json.loads(run("retrieve", QUERY, "--store", path, "--json").stdout)
    }
    assert json.loads(run("recall", QUERY, "--store", path, "--json").stdout)["query"].startswith("Who lit the lamp?")


def test_info_and_care(store):
    path, _ids = store
    for command in ("info", "verify", "compact", "repair"):
        assert run(command, "--store", path).exit_code == 0
    json.loads(run("info", "--store", path, "--json").stdout)


def test_files(folder, tmp_path):
    store = tmp_path / f"new {NAME}"
    bad = folder / "bad\x1b[31m.txt"
    assert run("memorize", folder / f"{NAME}.md", bad, "--store", store).exit_code == 1
    made = run("memorize", folder / f"{NAME}.md", "--store", store, "--embedder", "none")
    assert made.exit_code == 0
    assert "\\x1b[2J" in made.stdout
    added = json.loads(run("add", folder, "--store", store, "--json").stdout)["added"]
    assert added == [(folder / "new\n2. forged[0:9] line.txt").as_posix()]
    assert run("refresh", folder / f"{NAME}.md", "--store", store, "--json").exit_code == 0
    assert run("delete", f"near {NAME}", "--store", store).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [NAME],
        ["--" + NAME],
        ["recall", "--" + NAME, "q"],
        ["recall", "q", "--store", NAME],
        ["retrieve", "q", "--store", NAME, "--mode", NAME],
        ["retrieve", "q", "--store", NAME, "-k", NAME],
        ["memorize", NAME, "--store", NAME],
        ["memorize", NAME, "--store", NAME, "--memory", NAME],
        ["memorize", NAME, "--store", NAME, "--language", NAME],
        ["memorize", NAME, "--store", NAME, "--embedder", NAME],
        ["memorize", NAME, "--store", NAME, "--memory", "beacon", "--model", NAME],
        ["answer", "q", "--store", NAME, "--model", NAME],
        ["summarize", "--store", NAME, "--document", NAME],
        ["plan", "--model", NAME, "--tokens", "100"],
        ["delete", NAME, "--store", NAME],
        ["verify", "--store", NAME, NAME],
    ],
)
def test_messages_of_errors(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code in (1, 2)
    assert "\\x1b" in done.stderr


def test_what_a_damaged_store_names(store, tmp_path):
    path, _ids = store
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "memorag.sqlite3").write_bytes((path / "memorag.sqlite3").read_bytes())
    import sqlite3

    with sqlite3.connect(copy / "memorag.sqlite3") as database:
        database.execute("UPDATE documents SET text = text || 'x' WHERE place = 0")
    database.close()
    for command in (["verify"], ["info"], ["retrieve", QUERY], ["repair", "--drop"]):
        assert "\\x1b" in run(*command, "--store", copy).output


def test_clues_answers_and_summaries(store, monkeypatch):
    path, _ = store
    llm = ScriptedLLM(lambda prompt: f"* Who lit {EVIL} the lamp?\nThe lamp {EVIL} was lit\r\neach dusk.\r")
    memo = MemoRAG(LLMMemory(llm), passage_size=200)
    memo.memorize([Document(TEXT, f"id {NAME}")], progress=False)
    monkeypatch.setattr("memorag_integrations.engine.MemoRAG.load", classmethod(lambda cls, *_, **__: memo))
    assert "\\x1b" in run("answer", QUERY, "--store", path, "--sources").stdout
    assert "\\x1b" in run("summarize", "--store", path).stdout
    run("recall", QUERY, "--store", path)
    json.loads(run("recall", QUERY, "--store", path, "--json").stdout)


def test_a_fault_of_our_own_shows_its_traceback_without_control_characters(store, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError(f"broken {EVIL}")

    monkeypatch.setattr("memorag_integrations.engine.MemoRAG.load", broken)
    done = run("info", "--store", store[0])
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: broken \\x1b[2J" in done.stderr


def test_log_records(caplog):
    formatter = terminal.VisibleFormatter("%(message)s")
    record = logging.LogRecord(
        "memorag", logging.WARNING, "f.py", 1, "Passed over: %s", (f"{EVIL}\nforged line",), None
    )
    shown = formatter.format(record)
    assert is_safe(shown, "")
    assert "\\x1b[2J" in shown
    assert "\\nforged" in shown
    try:
        raise ValueError(EVIL)
    except ValueError:
        record.exc_info = sys.exc_info()
    assert is_safe(formatter.format(record))
    assert "Traceback" in formatter.format(record)


def test_the_program_itself(folder, tmp_path):
    """Through real pipes, with what it logs: files that are passed over or left out are named."""
    command = [sys.executable, "-c", "from memorag_integrations.cli import main; main()", "-v"]
    done = subprocess.run(
        [*command, "memorize", str(folder), "--store", str(tmp_path / NAME)], capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert b"Passed over" in done.stderr
    assert b"\\x1b[31m.txt" in done.stderr
    assert b"Left out" in done.stderr
    assert is_safe(done.stdout.decode())
    assert is_safe(done.stderr.decode())


def test_nothing_else_prints():
    for file in Path(terminal.__file__).parent.glob("*.py"):
        if file.name != "terminal.py":
            assert not re.search(
                r"click\.(echo|secho|style)\b|\bprint\(|sys\.std(out|err)|basicConfig", file.read_text()
            ), file
