"""The pipelines against the engine underneath and against the original's retrieval computed by hand."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from memorag_integrations.compat import MemoRAG, MemoRAGLite, Memory, Model
from memorag_integrations.encoders.bge_m3 import BGEM3Embedder
from tests.compat.conftest import CONTEXT, QUERY, Echo
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER, HashEmbedder
from tests.scripted import ScriptedLLM, instructions_of

TEMPLATE = "{context}\n### {input}"
SPAN = "the supply boat had been sold by the harbour board"
QUESTION = "Who planted the eleven apple trees?"


def script(prompt: str) -> str:
    told = instructions_of(prompt) if prompt.startswith("<text-") else ""
    if "JSON" in told:
        return (
            f'{{"spans": ["{SPAN}", "one two three"], "questions": ["{QUESTION}"], "answer": "The board sold it all."}}'
        )
    if "must not miss" in told:
        return f"1. {SPAN}\n2. {QUESTION}"
    return "gist of the stretch" if "gist" in told else "written"


@pytest.fixture
def pipe(beacon: str, retriever: str, echo: Echo) -> MemoRAG:
    pipe = MemoRAG(beacon, retriever, customized_gen_model=echo, retrieval_chunk_size=40)
    pipe.memorize(CONTEXT)
    return pipe


@pytest.fixture
def lite() -> tuple[MemoRAGLite, ScriptedLLM]:
    llm = ScriptedLLM(script)
    pipe = MemoRAGLite(customized_gen_model=llm, ret_model_name_or_path=HashEmbedder(256), retrieval_chunk_size=40)
    pipe.memorize(CONTEXT, print_stats=False)
    llm.prompts.clear()
    return pipe, llm


def union_by_hand(corpus: list[str], texts: list[str], embedder: Any, hits: int) -> list[str]:
    scores = embedder.embed_queries(texts) @ embedder.embed_passages(corpus).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :hits]
    return [corpus[row] for row in sorted({int(row) for ranked in best for row in ranked})]


@pytest.mark.parametrize("ret_hit", [1, 3])
@pytest.mark.parametrize("use_memory_answer", [False, True])
def test_per_clue_union_is_the_originals_set_in_the_order_of_the_text(
    lite: tuple[MemoRAGLite, ScriptedLLM], ret_hit: int, use_memory_answer: bool
):
    pipe, llm = lite
    pipe.retrieval, pipe.ret_hit = "per-clue-union", ret_hit
    pipe(QUERY, prompt_template=TEMPLATE, use_memory_answer=use_memory_answer)
    texts = [QUERY, SPAN, QUESTION, *(["The board sold it all."] if use_memory_answer else [])]
    expected = union_by_hand(pipe.retrieval_corpus, texts, HashEmbedder(256), ret_hit)
    if use_memory_answer:
        expected.append("The board sold it all.")
    assert llm.prompts[-1] == "\n\n".join(expected) + f"\n### {QUERY}"


def test_our_fusion_is_the_default_and_is_the_engines(pipe: MemoRAG, echo: Echo):
    pipe(query=QUERY, prompt_template=TEMPLATE)
    recall = pipe.memo.recall(QUERY)
    clues = [clue for clue in recall.clues if clue.kind != "answer"]
    most = 3 * (1 + len([clue for clue in clues if len(clue.text.split()) > 3]))
    ours = pipe.memo.retrieve(QUERY, most, recall=replace(recall, clues=clues, answer=None))
    in_order = sorted(ours, key=lambda piece: piece.passage.start)
    assert echo.prompts == ["\n\n".join(piece.text for piece in in_order) + f"\n### {QUERY}"]
    assert len(ours) >= 3


def test_beacon_memory_and_bge_m3_in_a_union(pipe: MemoRAG, retriever: str, echo: Echo):
    pipe.retrieval = "per-clue-union"
    pipe(query=QUERY, prompt_template=TEMPLATE)
    clues = [*pipe.mem_model.recall(QUERY).split("\n"), *pipe.mem_model.rewrite(QUERY).split("\n")]
    texts = [QUERY, *(clue for clue in clues if len(clue.split()) > 3)]
    expected = union_by_hand(pipe.retrieval_corpus, texts, BGEM3Embedder(retriever), 3)
    assert echo.prompts == ["\n\n".join(expected) + f"\n### {QUERY}"]


def test_passages_are_the_originals_chunks(pipe: MemoRAG):
    from semantic_text_splitter import TextSplitter

    chunks = TextSplitter.from_tiktoken_model("gpt-3.5-turbo", 40).chunks(CONTEXT)
    assert pipe.retrieval_corpus == chunks
    assert all(passage.text == CONTEXT[passage.start : passage.end] for passage in pipe.memo.corpus.index.passages)


def test_without_a_template_the_prompt_is_ours(pipe: MemoRAG, echo: Echo):
    assert pipe(query=QUERY, use_memory_answer=True, max_new_tokens=7) == echo.reply
    [prompt] = echo.prompts
    assert echo.limits == [7]
    draft = pipe.memo.recall(QUERY).answer
    assert f"[1] (memory)\n{draft}\n\n[2] " in prompt
    assert instructions_of(prompt).rstrip().endswith(QUERY)
    pipe(query=QUERY)
    assert "(memory)" not in echo.prompts[1]


def test_the_memory_model_writes_where_there_is_no_generator(beacon: str, retriever: str, instruct: str):
    pipe = MemoRAG(beacon, retriever, retrieval_chunk_size=40)
    assert pipe.gen_model is pipe.mem_model
    pipe.memorize(LIGHTHOUSE)
    own = pipe(query=QUERY, max_new_tokens=12)
    other = MemoRAG(beacon, retriever, instruct, retrieval_chunk_size=40)
    assert isinstance(other.gen_model, Model)
    assert own != other(LIGHTHOUSE, QUERY, max_new_tokens=12)


def test_qa_is_the_memorys_own_answer(pipe: MemoRAG, echo: Echo):
    assert pipe(query=QUERY, task_type="qa", max_new_tokens=9) == pipe.mem_model.answer(QUERY, 9)
    assert len(pipe.mem_model.answer(QUERY, 9)) <= 9
    assert echo.prompts == []


def test_the_context_given_is_the_one_that_is_asked(pipe: MemoRAG, caplog: pytest.LogCaptureFixture):
    memory = pipe.mem_model.memory
    pipe(CONTEXT, QUERY)
    assert pipe.mem_model.memory is memory, "the same text is not read again"
    with caplog.at_level(logging.WARNING):
        pipe(BAKERY, QUERY)
    assert "another text than the one memorized" in caplog.text
    assert set(pipe.retrieval_corpus) <= {text for text in pipe.retrieval_corpus if text in BAKERY}
    pipe(RIVER, QUERY, reset_each_call=True)
    assert "\n\n".join(pipe.retrieval_corpus) == RIVER


def test_reset_forgets(pipe: MemoRAG):
    assert pipe.mem_model.memory is not None
    pipe.reset()
    assert pipe.mem_model.memory is None
    with pytest.raises(ValueError, match="Pass context=, or call memorize"):
        pipe(query=QUERY)
    with pytest.raises(ValueError, match="There is no memory yet"):
        pipe.mem_model.recall(QUERY)


def test_what_a_generator_may_be(beacon: str, retriever: str):
    class Text(Echo):
        context_window = 6000

        def generate(self, prompt: str, max_new_tokens: int | None = None) -> Any:
            return super().generate(prompt, max_new_tokens)[0]

    for generator in (Text(), ScriptedLLM("The board had sold the boat.")):
        pipe = MemoRAG(beacon, retriever, customized_gen_model=generator, retrieval_chunk_size=40)
        assert pipe(LIGHTHOUSE, QUERY) == "The board had sold the boat."
    pipe.gen_model = Echo(reply=["one", "two"])
    with pytest.raises(Exception, match=r"Echo\.generate should return a text"):
        pipe(query=QUERY)


def test_a_generator_with_a_small_window_gets_the_best_of_the_evidence(pipe: MemoRAG, echo: Echo):
    pipe(query=QUERY, prompt_template=TEMPLATE)
    echo.context_window = 1420
    echo.prompts[0] = echo.prompts[0].split("\n###")[0]
    pipe(query=QUERY, prompt_template=TEMPLATE + " " * 2800)
    fewer = echo.prompts[1].split("\n###")[0]
    assert fewer
    assert len(fewer) < len(echo.prompts[0])


def test_lite_recalls_rewrites_and_sums_up(lite: tuple[MemoRAGLite, ScriptedLLM], tmp_path: Any):
    pipe, llm = lite
    assert pipe.recall(QUERY).split("\n") == [SPAN, "one two three"]
    assert pipe.rewrite(QUERY) == QUESTION
    assert len(llm.prompts) == 1
    assert pipe.answer(QUERY) == "written"
    assert pipe.summarize() == f"{SPAN}\n{QUESTION}"
    assert pipe(task_type="summarize", max_new_tokens=300) == "written"
    assert f"- {SPAN}\n- {QUESTION}\n" in llm.prompts[-1]
    pipe.reset()
    with pytest.raises(ValueError, match="Nothing is memorized yet"):
        pipe.recall(QUERY)


def test_lite_writes_gists_side_by_side(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    llm = ScriptedLLM(script, seconds=0.05)
    pipe = MemoRAGLite(customized_gen_model=llm, ret_model_name_or_path=HashEmbedder(64))
    long = "\n\n".join(f"{number}. {CONTEXT}" for number in range(6))
    pipe.memorize(long, batch_size=4, gist_chunk_size=256)
    assert llm.most_under_way == 4
    assert "Passages: " in capsys.readouterr().out
    count = len(llm.prompts)
    again = MemoRAGLite(customized_gen_model=llm, ret_model_name_or_path=HashEmbedder(64))
    again.memorize(long, print_stats=False, gist_chunk_size=256)
    assert len(llm.prompts) == count, "gists are kept"


def test_ones_own_instructions(beacon: str):
    memory = Memory(beacon)
    memory.memorize(LIGHTHOUSE)
    one, two = memory.generate(["Say something about {question}.", "And now?"], "the reef", max_new_tokens=8)
    assert one == memory.memory.reply(["Say something about the reef."], sampling=_greedy(8))[0].text
    assert memory.generate("And now?", max_new_tokens=8) == [two]
    assert memory.generate("And now?", max_new_tokens=8, with_cache=False) == Model(beacon).generate(
        "And now?", max_new_tokens=8
    )


def test_draws_follow_torchs_generator(instruct: str, caplog: pytest.LogCaptureFixture):
    import torch

    model = Model(instruct)
    how = {"max_new_tokens": 12, "do_sample": True, "temperature": 3.0}
    torch.manual_seed(3)
    first = model.generate(["hi!", "hi!"], batch_size=2, **how)
    assert first[0] != first[1]
    assert model.generate(["hi!", "hi!"], batch_size=2, **how) != first
    torch.manual_seed(3)
    assert model.generate(["hi!", "hi!"], batch_size=2, **how) == first
    greedy = model.generate("hi!", max_new_tokens=12)
    assert "do_sample=True" not in caplog.text
    assert model.generate("hi!", max_new_tokens=12, temperature=0.5) == greedy
    assert "temperature and top_p do nothing without do_sample=True" in caplog.text


def _greedy(count: int) -> Any:
    from memorag_integrations.decoding.generation import Sampling

    return Sampling(count)
