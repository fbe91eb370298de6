"""The fault tests of a store, run briefly: it survives kills, broken bytes and a crowd, and the tests can tell."""

import re
from dataclasses import replace

from click.testing import CliRunner

from memorag_integrations import MemoRAG
from tests.faults import answering_stores, corrupt, crowd, kill, resume


def run(main, *arguments):
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_killed_writer_leaves_the_state_before_or_after():
    printed = run(kill.main, "--kills", "6", "--full-disks", "0", "--seed", "3")
    found = dict(re.findall(r"^(\S.*?) {2,}(\d+)$", printed, re.MULTILINE))
    assert found["kills"] == "6"
    assert int(found["inside a commit (a journal was left)"]) > 0
    assert found["problems"] == found["lost documents"] == "0"


def test_a_lost_document_is_told(tmp_path):
    memo, figures = kill.opened(tmp_path / "s"), kill.Figures()
    memo.add(["One.", "Two."], progress=False)
    told = kill.state_of(memo.corpus.documents)
    memo.delete(next(iter(told)), progress=False)
    kill.checked(tmp_path / "s", {"before": told, "after": told}, figures, "here")
    assert figures["lost documents"] == 1
    assert figures.problems == ["here: neither state"]


def test_a_broken_store_says_so_or_answers_right(tmp_path):
    results = list(corrupt.run(tmp_path, [f"test-{n}" for n in range(60)], ("gist", "stopped")))
    assert [result for result in results if result.outcome == corrupt.FAILED] == []
    assert {result.outcome for result in results} >= {corrupt.REPAIRED, corrupt.CANNOT}
    home = answering_stores.home_of(tmp_path, "gist")
    home.found[()] = ["another answer"]
    assert corrupt.examine(home, home.folder) == (corrupt.FAILED, "wrong answers")


def test_a_broken_beacon_says_so_or_answers_right(tmp_path):
    answering_stores.make_stores(tmp_path, ("beacon",))
    home = answering_stores.home_of(tmp_path, "beacon")
    results = [
        corrupt.one(tmp_path, f"test-{n}", lambda name, folder: corrupt.examine(home, folder)) for n in range(10)
    ]
    assert [result for result in results if result.outcome == corrupt.FAILED] == []
    assert {result.file.split()[0] for result in results} == {"beacon"}
    assert {result.outcome for result in results} >= {corrupt.REPAIRED, corrupt.CANNOT}


def test_nobody_in_a_crowd_sees_half_a_change():
    printed = run(crowd.main, "--seconds", "3", "--writers", "2", "--readers", "3")
    changes = [int(count) for count in re.findall(r"writer \d: (\d+) changes", printed)]
    assert len(changes) == 2
    assert all(changes), printed
    assert int(re.search(r"readers: ([\d,]+) states read", printed)[1].replace(",", "")) > 0


def test_half_a_change_is_told():
    documents = crowd.batch(0, 0, 0, crowd.random.Random(0))
    memo = MemoRAG()
    memo.memorize(documents, progress=False)
    assert crowd.torn(memo) is None
    memo.delete(documents[0].id, progress=False)
    assert crowd.torn(memo) == "batch 0.0 has versions [0, 0, 0]"
    memo.replace(replace(documents[1], text="Another text."), progress=False)
    assert crowd.torn(memo) == "0.0.1 is not the text that it says"


def test_stopped_work_is_resumed_and_nothing_is_given_to_a_model_twice():
    printed = run(resume.main, "--documents", "12")
    assert len(re.findall(r"passages encoded, 0 of them twice", printed)) == 2, printed
