"""Summaries by key points: named by the memory, retrieved for, written from both; whole corpus, one document, streamed."""

import re

import pytest
from click.testing import CliRunner

from memorag_integrations import GistMemory, MemoRAG
from memorag_integrations.answers.writer import Writer
from memorag_integrations.cli import main
from memorag_integrations.errors import InputError, LLMError
from memorag_integrations.memories.llm import LLMMemory
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER, HashEmbedder
from tests.scripted import ScriptedLLM, instructions_of, text_of

POINTS = [
    "The oil ran out and the Silver Hind struck the reef",
    "Marta learned the craft of baking from her grandmother",
    "The flood of 1987 carried the lower mill away",
]
REPLY = "\n".join(f"{number}. {point}" for number, point in enumerate(POINTS, 1))


def script(prompt: str) -> str:
    if "must not miss" in instructions_of(prompt):
        return REPLY
    return "Three places, three stories."


def memorized(documents, memory=None, embedder=True, **settings):
    llm = settings.pop("llm", None) or ScriptedLLM(script)
    memo = MemoRAG(memory or LLMMemory(llm), HashEmbedder(256) if embedder else None, passage_size=130, **settings)
    memo.memorize(documents, progress=False)
    return memo, llm


@pytest.mark.parametrize("way", ["sync", "async", "stream", "astream"])
@pytest.mark.parametrize("embedder", [True, False])
async def test_a_summary_is_written_from_key_points_and_evidence(documents, way, embedder):
    memo, llm = memorized(documents, embedder=embedder)
    if way == "sync":
        text = memo.summarize(method="key-points").text
    elif way == "async":
        text = (await memo.asummarize(method="key-points")).text
    elif way == "stream":
        text = " ".join(memo.stream_summary(method="key-points"))
    else:
        text = " ".join([piece async for piece in memo.astream_summary(method="key-points")])
    assert text == "Three places, three stories."
    asked, written = llm.prompts
    assert LIGHTHOUSE in text_of(asked)
    outline, *pieces = re.split(r"^\[\d+\] ", text_of(written), flags=re.MULTILINE)
    assert outline.strip().splitlines() == [f"- {point}" for point in POINTS]
    texts = "".join(pieces)
    for told in ("Silver Hind", "grandmother", "lower mill"):
        assert told in texts
    assert texts.index("(lighthouse)") < texts.index("(bakery)") < texts.index("(river)")
    assert memo.usage.calls == (2 if way in ("sync", "async") else 1)


def test_excerpts_stand_in_the_order_of_the_text_and_the_answer_names_them(documents):
    memo, llm = memorized(documents)
    summary = memo.summarize(method="key-points")
    places = [(memo.corpus.documents[piece.document_id], piece.passage.start) for piece in summary.evidence]
    order = [(list(memo.corpus.documents.values()).index(document), start) for document, start in places]
    assert order == sorted(order)
    assert len(order) == len(set(order)) >= len(POINTS)
    assert text_of(llm.prompts[-1]).count("\n[") == len(order)
    by = {reason.by for piece in summary.evidence for reason in piece.found_by}
    assert by == set(POINTS)
    assert summary.usage.calls == 2


def test_of_one_document_only_points_that_lead_there_and_evidence_from_there(documents):
    memo, llm = memorized(documents)
    summary = memo.summarize("river", method="key-points")
    assert {piece.document_id for piece in summary.evidence} == {"river"}
    assert text_of(llm.prompts[-1]).startswith(f"- {POINTS[2]}\n\n[1] ")
    assert all(piece.text in RIVER for piece in summary.evidence)


def test_only_the_memories_of_that_document_are_asked(documents):
    memo, llm = memorized(documents, LLMMemory(llm := ScriptedLLM(script), context_window=2200), llm=llm)
    assert len(memo.corpus.shards) > 1
    memo.summarize("river", method="key-points")
    assert len(llm.prompts) == 2
    llm.prompts.clear()
    summary = memo.summarize(method="key-points")
    parts = sum(len(cached.memory.parts) for cached in memo.corpus.memories)
    assert len(llm.prompts) == parts + 1 == summary.usage.calls


def test_gists_name_key_points_too(documents, tmp_path):
    def gists(prompt):
        return "Gist of a stretch." if "gist" in instructions_of(prompt) else script(prompt)

    llm = ScriptedLLM(gists)
    memo, _ = memorized(documents, GistMemory(llm, folder=tmp_path, stretch=300, words=20))
    llm.prompts.clear()
    assert memo.summarize(method="key-points").text == "Three places, three stories."
    assert "Gist of a stretch." in text_of(llm.prompts[0])
    assert LIGHTHOUSE not in text_of(llm.prompts[0])


def test_a_small_window_takes_the_best_evidence_of_each_point_first(documents):
    class Verbose(ScriptedLLM):
        def count_tokens(self, text: str) -> int:
            return len(text)

    writer = Writer(Verbose(script, window=1640), max_tokens=256)
    memo, _ = memorized(documents, generator=writer)
    few = memo.summarize(method="key-points").evidence
    all_of_it, _ = memorized(documents)
    every = all_of_it.summarize(method="key-points").evidence
    assert len(few) < len(every)
    assert {piece.document_id for piece in few} == {"lighthouse", "bakery", "river"}


def test_points_beyond_half_of_the_window_are_condensed(documents):
    many = "\n".join(f"The keeper planted tree number {i} behind the tower" for i in range(90))

    def says(prompt):
        if "must not miss" in instructions_of(prompt):
            return many
        return "The keeper planted ninety trees."

    llm = ScriptedLLM(says)
    memo, _ = memorized(documents, LLMMemory(llm), generator=Writer(llm, max_tokens=256, context_window=2000))
    memo.summarize(method="key-points")
    assert "tree number 7 " in llm.prompts[1]
    assert text_of(llm.prompts[-1]).startswith("The keeper planted ninety trees.")


def test_what_cannot_be_done_is_said(documents):
    memo, _ = memorized(documents)
    with pytest.raises(InputError, match="method must be one of whole, key-points; found 'quick'"):
        memo.summarize(method="quick")
    with pytest.raises(InputError, match="id of a memorized document"):
        memo.summarize("nobody", method="key-points")
    embedded = MemoRAG(generator=ScriptedLLM(script))
    embedded.memorize(documents, progress=False)
    with pytest.raises(InputError, match="no language model to name key points"):
        embedded.summarize(method="key-points")
    silent, _ = memorized(documents, LLMMemory(ScriptedLLM("")))
    with pytest.raises(LLMError, match="named no key points"):
        silent.summarize(method="key-points")


def test_the_text_decides_the_language_of_the_prompts():
    llm = ScriptedLLM("灯塔的看守人每天黄昏点灯\n渔船在暗礁上沉没，十一人遇难")
    memo = MemoRAG(LLMMemory(llm))
    memo.memorize("灯塔的看守人每天黄昏点亮灯火。冬天油料用尽，渔船在暗礁上沉没，十一人遇难。", progress=False)
    memo.summarize(method="key-points")
    named, written = map(instructions_of, llm.prompts)
    assert "不可遗漏" in named
    assert "两部分" in written


async def test_evidence_for_several_texts_takes_turns(documents):
    memo, llm = memorized(documents)
    found = memo.retrieve_each(POINTS, 3)
    assert [piece.document_id for piece in found] == ["lighthouse", "bakery", "river"]
    assert [piece.found_by[0].by for piece in found] == POINTS
    assert found == await memo.aretrieve_each(POINTS, 3)
    assert memo.retrieve_each([POINTS[1], POINTS[1]], 4) == memo.retrieve_each(POINTS[1], 4)
    assert sum(len(piece.text) for piece in memo.retrieve_each(POINTS, budget=300)) <= 300
    union = memo.retrieve_each(POINTS, 3, mode="per-clue-union")
    assert {reason.signal for piece in union for reason in piece.found_by} == {"dense"}
    assert {piece.document_id for piece in memo.retrieve_each(POINTS, 9, filters={"kind": "craft"})} == {"bakery"}
    assert not llm.prompts
    for texts in ([], ["  "], ""):
        with pytest.raises(InputError, match="at least one text"):
            memo.retrieve_each(texts)
    with pytest.raises(InputError, match="Expected texts"):
        memo.retrieve_each([None])
    with pytest.raises(InputError, match="mode must be one of memorag, per-clue-union"):
        memo.retrieve_each(POINTS, mode="bm25")
    without, _ = memorized(documents, embedder=False)
    with pytest.raises(InputError, match="needs an embedder"):
        without.retrieve_each(POINTS, mode="per-clue-union")
    assert [piece.document_id for piece in without.retrieve_each(POINTS, 3)] == ["lighthouse", "bakery", "river"]


def test_the_memory_answers_alone(documents):
    llm = ScriptedLLM(lambda prompt: "Marta." if "as few words" in instructions_of(prompt) else "?")
    memo, _ = memorized(documents, LLMMemory(llm))
    [cached] = memo.corpus.memories
    answer = cached.memory.answer("Who opens the bakery at four?")
    assert (answer.text, answer.usage.calls) == ("Marta.", 1)
    assert llm.prompts[0].rstrip().endswith("Who opens the bakery at four?")
    with pytest.raises(InputError, match="none may be blank"):
        cached.memory.answer(" ")


def test_of_several_parts_the_grounded_answer_counts(documents):
    def says(prompt):
        return "He planted eleven apple trees behind the tower" if BAKERY not in prompt else "zebras, quagmires"

    llm = ScriptedLLM(says, window=2200)
    memo = MemoRAG(LLMMemory(llm))
    memo.memorize("\n\n".join([BAKERY] * 3 + [LIGHTHOUSE] * 3), progress=False)
    [cached] = memo.corpus.memories
    assert len(cached.memory.parts) > 1
    assert cached.memory.answer("What did he plant?").text == "He planted eleven apple trees behind the tower"


def test_from_the_shell(tmp_path):
    (tmp_path / "text.md").write_text(LIGHTHOUSE, "utf-8")
    store = str(tmp_path / "s.memo")
    assert CliRunner().invoke(main, ["memorize", str(tmp_path / "text.md"), "--store", store]).exit_code == 0
    result = CliRunner().invoke(main, ["summarize", "--store", store, "--method", "quick"])
    assert result.exit_code == 2
    assert "'whole', 'key-points'" in result.stderr
