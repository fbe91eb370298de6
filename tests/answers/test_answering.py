"""Answers and summaries through the engine: at once, awaited, streamed."""

import pytest

from memorag_integrations import Document, MemoRAG
from memorag_integrations.answers.writer import Writer
from memorag_integrations.errors import InputError, LLMError
from memorag_integrations.memories.llm import LLMMemory
from tests.scripted import ScriptedLLM, instructions_of, text_of

DOCUMENTS = [
    Document("Anna kept the mill after the flood. She mended the wheel by lamplight.", "anna"),
    Document("Tomas left for the harbour. He wrote that only ships were honest.", "tomas"),
]
QUERY = "Who stayed at the mill?"


def clues_or_text(prompt: str) -> str:
    if "JSON" in instructions_of(prompt):
        return '{"spans": ["She mended the wheel by lamplight."], "questions": [], "answer": "Anna stayed."}'
    return "<think>the excerpts say so</think>Anna stayed [1]."


def memorized(**settings) -> MemoRAG:
    memo = MemoRAG(**settings)
    memo.memorize(DOCUMENTS, progress=False)
    return memo


async def written(memo: MemoRAG, way: str) -> str:
    if way == "sync":
        return memo.answer(QUERY).text
    if way == "async":
        return (await memo.aanswer(QUERY)).text
    if way == "stream":
        return " ".join(memo.stream_answer(QUERY))
    return " ".join([piece async for piece in memo.astream_answer(QUERY)])


@pytest.mark.parametrize("way", ["sync", "async", "stream", "astream"])
async def test_an_answer_is_written_from_the_evidence(way):
    llm = ScriptedLLM(clues_or_text)
    assert (await written(memorized(generator=llm), way)).endswith("Anna stayed [1].")
    [prompt] = llm.prompts
    assert "Anna kept the mill" in text_of(prompt)
    assert instructions_of(prompt).rstrip().endswith(QUERY)


def test_the_memorys_own_model_writes_unless_another_is_given():
    own, other = ScriptedLLM(clues_or_text), ScriptedLLM("Another says: Anna.")
    memory = LLMMemory(own)
    assert memorized(memory=memory).answer(QUERY).text == "Anna stayed [1]."
    assert len(own.prompts) == 2
    memo = memorized(memory=memory, generator=other)
    assert memo.answer(QUERY).text == "Another says: Anna."
    assert (len(own.prompts), len(other.prompts)) == (3, 1)


def test_costs_add_up_and_a_repeated_query_asks_the_memory_nothing():
    llm = ScriptedLLM(clues_or_text)
    memo = memorized(memory=LLMMemory(llm))
    first = memo.recall(QUERY)
    assert first.usage.calls == memo.usage.calls == 1
    assert memo.recall(QUERY).clues == first.clues
    memo.retrieve(QUERY)
    assert memo.usage == first.usage
    answer = memo.answer(QUERY)
    assert answer.usage.calls == 1
    assert memo.usage == first.usage + answer.usage


def test_clues_of_a_model_weigh_in_and_say_so():
    memo = memorized(memory=LLMMemory(ScriptedLLM(clues_or_text)))
    best = memo.retrieve(QUERY, 1)[0]
    by = {found.by: found.weight for found in best.found_by}
    assert best.document_id == "anna"
    assert 0 < by["She mended the wheel by lamplight."] < by["query"] == 1


def test_small_documents_share_a_prompt_and_large_ones_have_their_own():
    llm = ScriptedLLM(clues_or_text, window=3000)
    memo = MemoRAG(LLMMemory(llm, reply_tokens=200))
    memo.memorize([Document(f"{i} " + "word " * 300, str(i)) for i in range(6)], progress=False)
    sizes = [len(shard.documents) for shard in memo.corpus.shards]
    assert sum(sizes) == 6
    assert max(sizes) > 1
    assert len(sizes) > 1
    assert all(memory.token_count <= memo.memory_model.capacity for memory in memo.corpus.memories)
    assert {clue.grounding.document_id for clue in memo.recall("word").clues if clue.grounding} <= set("012345")


@pytest.mark.parametrize("way", ["sync", "async", "stream", "astream"])
async def test_a_summary_reads_all_of_the_text(way):
    llm = ScriptedLLM("They part and meet.")
    memo = memorized(generator=llm)
    if way == "sync":
        text = memo.summarize().text
    elif way == "async":
        text = (await memo.asummarize()).text
    elif way == "stream":
        text = " ".join(memo.stream_summary())
    else:
        text = " ".join([piece async for piece in memo.astream_summary()])
    assert text == "They part and meet."
    assert all(document.text in text_of(llm.prompts[-1]) for document in DOCUMENTS)
    assert memo.summarize("tomas").text == text
    assert text_of(llm.prompts[-1]) == DOCUMENTS[1].text


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_text_beyond_the_window_is_condensed_in_parts_that_leave_nothing_out(way):
    lines = [f"Entry {i}: the lamp in room {i} was lit by nobody in particular." for i in range(300)]
    llm = ScriptedLLM("Lamps were lit.", window=4000)
    memo = MemoRAG(generator=Writer(llm, max_tokens=200))
    memo.memorize("\n".join(lines), progress=False)
    answer = memo.summarize() if way == "sync" else await memo.asummarize()
    read = "".join(text_of(prompt) for prompt in llm.prompts[:-1])
    assert all(line in read for line in lines)
    assert len(llm.prompts) > 2
    assert answer.usage.calls == memo.usage.calls == len(llm.prompts)


def test_what_is_missing_is_said():
    with pytest.raises(InputError, match="generator=llm"):
        memorized().answer(QUERY)
    memo = memorized(generator=ScriptedLLM("x"))
    with pytest.raises(InputError, match="No evidence"):
        memo.answer(QUERY, filters={"no": "such"})
    with pytest.raises(InputError, match="id of a memorized document"):
        memo.summarize("nobody")
    with pytest.raises(InputError, match="context_window="):
        memorized(generator=ScriptedLLM("x", window=None)).answer(QUERY)
    with pytest.raises(InputError, match="max_tokens"):
        memorized(generator=ScriptedLLM("x", window=800)).answer(QUERY)
    with pytest.raises(InputError, match="language model"):
        memorized(generator="gpt").answer(QUERY)


def test_a_providers_error_comes_through_in_its_own_words():
    def fails(prompt: str) -> str:
        raise TimeoutError("the provider took too long")

    with pytest.raises(LLMError, match="the provider took too long"):
        memorized(generator=ScriptedLLM(fails)).answer(QUERY)


def test_the_writer_is_not_in_the_store(tmp_path):
    memorized(generator=ScriptedLLM("x")).save(tmp_path / "store")
    loaded = MemoRAG.load(tmp_path / "store", generator=ScriptedLLM("Anna."))
    assert loaded.answer(QUERY).text == "Anna."


def test_a_loaded_memory_keeps_its_recalls_too(tmp_path):
    llm = ScriptedLLM(clues_or_text)
    memorized(memory=LLMMemory(llm)).save(tmp_path / "store")
    loaded = MemoRAG.load(tmp_path / "store", memory=LLMMemory(llm))
    first = loaded.recall(QUERY)
    assert loaded.recall(QUERY).clues == first.clues
    assert len(llm.prompts) == loaded.usage.calls == 1


def test_the_memorys_window_is_the_writers():
    memo = memorized(memory=LLMMemory(ScriptedLLM(clues_or_text, window=None), context_window=50_000))
    assert memo.answer(QUERY).text == "Anna stayed [1]."
