"""Under a filter memories are asked over admitted text, and nothing of excluded text comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memorag_integrations import Document, GistMemory, LLMMemory, MemoRAG
from memorag_integrations.clues import Clue, Grounding, Recall
from memorag_integrations.contracts import Memory
from memorag_integrations.corpus.excerpts import Excerpts, passage_range
from memorag_integrations.documents import Passage, Shard
from memorag_integrations.errors import InputError, MemoryModelError
from memorag_integrations.index.admitted import Admitted, ExcludedText
from memorag_integrations.index.filters import filter_predicate
from memorag_integrations.memories.base import BaseMemory, BaseMemoryModel
from tests.scripted import ScriptedLLM, text_of

QUERY = "What did Anna keep?"
TEXTS = {
    "mill": "Anna kept the old mill by the river. The wheel was mended with oak.",
    "sea": "Tomas left for the sea in spring. His ship was called the Kittiwake.",
    "ledger": "Brida kept a ledger of debts. The combination of the safe is 4471-B.",
}


def quoting(prompt: str) -> str:
    """Every sentence of the text as a span, and the last one as the answer."""
    if '"spans"' not in prompt:
        return text_of(prompt).replace("\n\n", " ")[:200]
    sentences = re.findall(r"\w[^.]+\.", text_of(prompt))
    return json.dumps({"spans": sentences[:6], "questions": [f"Who said: {sentences[-1]}"], "answer": sentences[-1]})


def memorized(memory: Any, **how: Any) -> MemoRAG:
    memo = MemoRAG(memory, **how)
    memo.memorize([Document(text, id, {"kind": id}) for id, text in TEXTS.items()], progress=False)
    return memo


def in_pieces(memory: Any, offsets: bool = True, **how: Any) -> MemoRAG:
    """One document of three chunks, each with metadata of its own."""
    text = "\n\n".join(TEXTS.values())

    def split(document: Document) -> Iterator[Passage]:
        for kind, piece in TEXTS.items():
            at = text.index(piece)
            place = (at, at + len(piece)) if offsets else (None, None)
            yield Passage(kind, document.id, piece, *place, at + len(piece) / 2, {"kind": kind})

    memo = MemoRAG(memory, **how)
    memo.memorize([Document(text, "all")], split=lambda document: list(split(document)), progress=False)
    return memo


# ── prompts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_holds_the_admitted_documents_of_a_pack_alone() -> None:
    llm = ScriptedLLM(quoting)
    memo = memorized(LLMMemory(llm))
    assert len(memo.corpus.shards) == 1
    memo.recall(QUERY)
    for _ in range(2):
        recall = memo.recall(QUERY, filters={"kind": ["mill", "ledger"]})
        assert {clue.document_id for clue in recall.clues} == {"mill", "ledger"}
    [everything, part] = llm.prompts
    assert text_of(everything) == "\n\n".join(TEXTS.values())
    assert text_of(part) == f"{TEXTS['mill']}\n\n{TEXTS['ledger']}"


def test_another_query_under_the_same_filter_begins_with_the_same_bytes() -> None:
    llm = ScriptedLLM(quoting)
    memo = memorized(LLMMemory(llm))
    for query in (QUERY, "Who was in debt?"):
        memo.recall(query, filters={"kind": {"$ne": "sea"}})
    end = llm.prompts[0].index("</text-")
    assert llm.prompts[0][:end] == llm.prompts[1][:end]


@pytest.mark.parametrize("offsets", [True, False])
def test_of_a_document_the_admitted_chunks_are_asked(offsets: bool) -> None:
    llm = ScriptedLLM(quoting)
    memo = in_pieces(LLMMemory(llm), offsets)
    memo.recall(QUERY)
    recall = memo.recall(QUERY, filters={"kind": {"$in": ["mill", "ledger"]}})
    assert text_of(llm.prompts[-1]) == f"{TEXTS['mill']}\n\n{TEXTS['ledger']}"
    text = memo.corpus.texts["all"]
    spans = [clue for clue in recall.clues if clue.kind == "span"]
    assert len(spans) == 4
    for clue in spans:
        assert clue.grounding is not None
        assert text[clue.grounding.start : clue.grounding.end] == clue.text


def test_a_text_beyond_the_window_is_restricted_even_where_it_would_be_refused() -> None:
    llm = ScriptedLLM(quoting, 1700)
    model = LLMMemory(llm, overflow="refuse", reply_tokens=200)
    pieces = [f"Anna kept the mill number {n}." for n in range(40)]
    while model.count_tokens("x".join(pieces)) > model.capacity:
        pieces.pop()
    passages = [Passage(str(n), "d", piece, None, None, float(n), {"n": n % 2}) for n, piece in enumerate(pieces)]
    memo = MemoRAG(model)
    memo.memorize([Document("x".join(pieces), "d")], split=lambda document: passages, progress=False)
    assert memo.recall(QUERY, filters={"n": 1}).clues
    assert all("number 2." not in prompt for prompt in llm.prompts)


async def test_sync_and_async_ask_the_same() -> None:
    llms = ScriptedLLM(quoting), ScriptedLLM(quoting)
    one = memorized(LLMMemory(llms[0])).recall(QUERY, filters={"kind": "mill"})
    other = await memorized(LLMMemory(llms[1])).arecall(QUERY, filters={"kind": "mill"})
    assert one.clues == other.clues
    assert llms[0].prompts == llms[1].prompts


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([1700, 100_000]),
)
def test_whatever_is_admitted_prompts_and_clues_hold_it_alone(
    kinds: list[list[bool]], offsets: bool, window: int
) -> None:
    """Documents of chunks that a filter admits or not, at random."""
    llm = ScriptedLLM(quoting, window)
    memo = MemoRAG(LLMMemory(llm, reply_tokens=200))
    passages: dict[str, list[Passage]] = {}
    for d, row in enumerate(kinds):
        at = 0
        for p, admitted in enumerate(row):
            text = f"Anna kept {'open' if admitted else 'shut'}x{d}y{p} in the mill."
            place = (at, at + len(text)) if offsets else (None, None)
            passages.setdefault(str(d), []).append(
                Passage(f"{d}/{p}", str(d), text, *place, at + len(text) / 2, {"admitted": admitted})
            )
            at += len(text) + 1
    documents = [Document("\n".join(p.text for p in pieces), id) for id, pieces in passages.items()]
    memo.memorize(documents, split=lambda document: passages[document.id], progress=False)
    memo.recall(QUERY)
    llm.prompts.clear()
    recall = memo.recall(QUERY, filters={"admitted": True})
    told = str([llm.prompts, recall, memo.retrieve(QUERY, 50, filters={"admitted": True})])
    assert "shutx" not in told or all(map(all, kinds))
    assert bool(recall.clues) == any(map(any, kinds))


# ── memories that know no part of their text ──────────────────────────────────────────────────────────────────────


def test_gists_of_documents_that_are_admitted_as_a_whole_are_joined(tmp_path: Path) -> None:
    llm = ScriptedLLM(quoting)
    memo = memorized(GistMemory(llm, folder=tmp_path))
    memo.recall(QUERY)
    recall = memo.recall(QUERY, filters={"kind": ["mill", "sea"]})
    assert {clue.document_id for clue in recall.clues} == {"mill", "sea"}
    assert set(text_of(llm.prompts[-1]).split("\n\n")) == {TEXTS["mill"], TEXTS["sea"]}


def test_a_memory_that_cannot_be_restricted_is_not_asked_and_a_warning_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    llm = ScriptedLLM(quoting)
    memo = in_pieces(GistMemory(llm, folder=tmp_path))
    asked = len(llm.prompts)
    with caplog.at_level(logging.WARNING):
        for filters in ({"kind": "mill"}, {"kind": "sea"}):
            recall = memo.recall(QUERY, filters=filters)
            assert recall.clues == ()
            assert "of 1 memories" in recall.warnings[0]
            assert memo.retrieve(QUERY, filters=filters)
    assert len(llm.prompts) == asked
    assert len([record for record in caplog.records if "were not asked" in record.getMessage()]) == 1


class Owned(BaseMemoryModel):
    """A memory of a user's own, of the class that is passed."""

    fingerprint = "owned-1"

    def __init__(self, memory: type[BaseMemory], capacity: int | None = None) -> None:
        self.memory, self.packs = memory, capacity

    @property
    def capacity(self) -> int | None:
        return self.packs

    def count_tokens(self, text: str) -> int:
        return len(text)

    def read(self, shard: Shard, text: str, progress: Any, cancel: Any) -> Memory:
        return self.memory(shard)  # type: ignore[call-arg]

    def load(self, path: Path, shard: Shard) -> Memory:
        return self.memory(shard)  # type: ignore[call-arg]


class Quotes(BaseMemory):
    """Names each sentence of its shard, with its place."""

    token_count = nbytes = 1

    def __init__(self, shard: Shard) -> None:
        self.shard = shard

    def recall(self, queries: Sequence[str], *, scores: Any, cancel: Any = None) -> list[Recall]:
        clues = [
            Clue(match[0], grounding=Grounding(*self.shard.locate(*match.span()), 1.0))
            for match in re.finditer(r"\w[^.]+\.", self.shard.text)
        ]
        return [Recall(query, tuple(clues)) for query in queries]

    def save(self, path: Path) -> None:
        path.mkdir()


class Parted(Quotes):
    def restricted(self, shard: Shard) -> Parted:
        return Parted(shard)


class Scored(Quotes):
    reads_text = False

    def recall(self, queries: Sequence[str], *, scores: Any, cancel: Any = None) -> list[Recall]:
        return [Recall(s.text, tuple(Clue(p.text) for p in s.candidates.passages)) for s in scores]


@pytest.mark.parametrize(("memory", "asked"), [(Quotes, False), (Parted, True), (Scored, True)])
@pytest.mark.parametrize("make", [memorized, in_pieces])
def test_a_memory_of_ones_own_says_whether_it_may_be_asked(
    make: Callable[[Any], MemoRAG], memory: type[BaseMemory], asked: bool
) -> None:
    memo = make(Owned(memory, 10_000))
    assert memo.recall(QUERY).clues
    recall = memo.recall(QUERY, filters={"kind": "mill"})
    assert bool(recall.clues) == asked
    assert all(clue.text in TEXTS["mill"] for clue in recall.clues)
    assert bool(recall.warnings) != asked


def test_what_is_no_memory_is_named() -> None:
    class Wrong(Quotes):
        def restricted(self, shard: Shard) -> Any:
            return shard

    with pytest.raises(MemoryModelError, match=r"Expected a memory from Owned\.restricted, found Shard"):
        memorized(Owned(Wrong, 10_000)).recall(QUERY, filters={"kind": "mill"})


def test_a_memory_that_fails_to_be_restricted_is_an_error_of_ours() -> None:
    class Failing(Quotes):
        def restricted(self, shard: Shard) -> Any:
            raise ZeroDivisionError("no parts")

    with pytest.raises(MemoryModelError, match=r"Failing could not be restricted.*no parts"):
        memorized(Owned(Failing, 10_000)).recall(QUERY, filters={"kind": "mill"})


# ── the last fence: memories that know more than they should ──────────────────────────────────────────────────────


class Said(BaseMemory):
    """Says the same whatever is asked, over one document."""

    token_count = nbytes = 1
    clues: Sequence[Clue] = ()
    answer: str | None = None
    warning = ""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard

    def recall(self, queries: Sequence[str], *, scores: Any, cancel: Any = None) -> list[Recall]:
        warnings = [self.warning] if self.warning else []
        return [Recall(query, tuple(self.clues), self.answer, warnings=warnings) for query in queries]

    def save(self, path: Path) -> None:
        path.mkdir()


def recalled(query: str = QUERY, **said: Any) -> Recall:
    """Under a filter that admits the mill alone."""
    memo = memorized(Owned(type("Saying", (Said,), said)))
    return memo.recall(query, filters={"kind": "mill"})


@pytest.mark.parametrize(
    "text",
    [
        TEXTS["ledger"],
        "The combination of the safe is 4471-B.",
        "It is 4471-B",
        "4471-B",
        "She wrote Kittiwake on the wheel of the mill.",
        "What was the kittiwake?",
        "Anna knew the combination.",
        "Anna left for the sea in spring.",
        "a ledger of debts",
    ],
)
@pytest.mark.parametrize("as_what", ["clue", "answer", "warning"])
def test_what_stands_in_excluded_passages_alone_is_dropped(text: str, as_what: str) -> None:
    said = {"clue": {"clues": [Clue(text)]}, "answer": {"answer": text}, "warning": {"warning": text}}[as_what]
    recall = recalled(**said)
    assert not recall.clues
    assert recall.answer is None
    assert text not in recall.warnings


@pytest.mark.parametrize(
    "text",
    [
        "The wheel was mended with oak.",
        "mended with oak",
        "Who mended that wheel, and why?",
        "Anna and the river: an unheard-of acquaintance.",
        "What was it?",
        "!",
    ],
)
def test_what_stands_in_admitted_passages_or_nowhere_is_kept(text: str) -> None:
    recall = recalled(clues=[Clue(text, "question")], answer=text)
    assert [clue.text for clue in recall.clues] == [text]
    assert recall.answer == text


def test_what_the_query_says_itself_is_no_secret() -> None:
    assert recalled("What is the Kittiwake?", clues=[Clue("the Kittiwake of Anna")]).clues
    assert not recalled("What is the Kittiwake?", clues=[Clue("the Kittiwake left for the sea in spring")]).clues


@pytest.mark.parametrize("place", [Grounding("sea", 0, 5, 1.0), Grounding("nowhere", 0, 5, 1.0)])
def test_a_clue_that_is_grounded_elsewhere_is_dropped(place: Grounding) -> None:
    assert not recalled(clues=[Clue("the old mill", grounding=place)]).clues


@pytest.mark.parametrize(
    ("start", "end", "kept"), [(0, 20, True), (60, 80, False), (100, 120, False), (10**6, 10**6 + 1, False)]
)
def test_a_place_in_an_excluded_chunk_is_dropped(start: int, end: int, kept: bool) -> None:
    class Saying(Said):
        clues = (Clue("the old mill", grounding=Grounding("all", start, end, 1.0)),)
        reads_text = False

    assert bool(in_pieces(Owned(Saying)).recall(QUERY, filters={"kind": "mill"}).clues) == kept


def test_text_of_a_script_without_blanks() -> None:
    texts = {"a": "王丽负责联系工厂，三月底之前完成设计。", "b": "保险箱的密码写在灯塔的墙上，张伟知道。"}
    said = [Clue("王丽负责联系工厂"), Clue("密码写在灯塔的墙上"), Clue("张伟")]
    memo = MemoRAG(Owned(type("Saying", (Said,), {"clues": said})))
    memo.memorize([Document(text, id, {"kind": id}) for id, text in texts.items()], progress=False)
    assert [clue.text for clue in memo.recall("谁负责设计？", filters={"kind": "a"}).clues] == ["王丽负责联系工厂"]


def test_a_text_that_an_admitted_document_holds_too_is_no_secret() -> None:
    memo = MemoRAG(LLMMemory(ScriptedLLM(quoting)))
    memo.memorize([Document(TEXTS["sea"], id, {"kind": id}) for id in ("one", "two")], progress=False)
    assert memo.recall("Who left?", filters={"kind": "one"}).clues


def test_a_recall_that_the_caller_passes_is_the_callers_own() -> None:
    memo = memorized("activation")
    recall = Recall(QUERY, (Clue("the Kittiwake", grounding=Grounding("mill", 0, 20, 1.0)),))
    [piece, *_] = memo.retrieve(QUERY, filters={"kind": "mill"}, recall=recall)
    assert piece.document_id == "mill"
    assert "the Kittiwake" in {reason.by for reason in piece.found_by}


# ── functions as filters ──────────────────────────────────────────────────────────────────────────────────────────


async def later(metadata: Mapping[str, Any]) -> bool:
    return False


class Later:
    async def __call__(self, metadata: Mapping[str, Any]) -> bool:
        return False


def generating(metadata: Mapping[str, Any]) -> Iterator[bool]:
    yield False


async def generating_later(metadata: Mapping[str, Any]) -> Any:
    yield False


NOT_YES_OR_NO: dict[str, Any] = {
    "async": later,
    "async object": Later(),
    "async part": partial(partial(later)),
    "coroutine": lambda metadata: later(metadata),
    "future": lambda metadata: asyncio.Future(loop=asyncio.new_event_loop()),
    "generator": generating,
    "generator expression": lambda metadata: (key for key in metadata),
    "async generator": generating_later,
    "async iterator": lambda metadata: generating_later(metadata),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", NOT_YES_OR_NO)
@pytest.mark.parametrize("within", [lambda f: f, lambda f: {"$not": f}, lambda f: {"$or": [{"kind": "sea"}, f]}])
async def test_a_function_that_says_neither_yes_nor_no_is_refused(name: str, within: Callable[[Any], Any]) -> None:
    memo = memorized("activation")
    for call in ("recall", "retrieve"):
        with pytest.raises(InputError, match="plain function of the metadata"):
            getattr(memo, call)(QUERY, filters=within(NOT_YES_OR_NO[name]))
        with pytest.raises(InputError, match="plain function of the metadata"):
            await getattr(memo, f"a{call}")(QUERY, filters=within(NOT_YES_OR_NO[name]))


def test_an_async_function_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match="an async or a generator function in later"):
        filter_predicate(later)


def test_a_function_gets_a_copy_of_the_metadata() -> None:
    memo = MemoRAG()
    memo.memorize([Document("the mill", "a", {"tags": ["x"], "n": 1, "deep": {"set": {1}}})], progress=False)

    def greedy(metadata: Any) -> bool:
        metadata["tags"].append("y")
        metadata["deep"]["set"].clear()
        metadata["n"] = 2
        return True

    for filters in (greedy, {"$and": [greedy, greedy]}, lambda metadata: metadata.clear() is None):
        [piece] = memo.retrieve("mill", filters=filters)
        assert piece.passage.metadata == {"tags": ["x"], "n": 1, "deep": {"set": {1}}}


def test_a_function_that_raises_is_an_error_of_ours_without_the_metadata() -> None:
    memo = memorized("activation")
    with pytest.raises(InputError, match=r"raised ValueError") as raised:
        memo.retrieve(QUERY, filters=lambda metadata: int(metadata["kind"]) > 3)
    assert not any(kind in str(raised.value) for kind in TEXTS)
    with pytest.raises(InputError, match=r"raised ValueError"):
        memo.retrieve(QUERY, filters=lambda metadata: np.ones(3))
    with pytest.raises(InputError, match=r"raised KeyError"):
        memo.recall(QUERY, filters=lambda metadata: metadata["year"] > 1900)
    with pytest.raises(InputError, match="a value of type str") as raised:
        memo.retrieve(QUERY, filters={"kind": {"$gt": 3}})
    assert not any(kind in str(raised.value) for kind in TEXTS)


@pytest.mark.parametrize("mode", ["memorag", "bm25"])
def test_a_function_is_asked_once_for_each_metadata(mode: Any) -> None:
    asked: list[int] = []
    memo = MemoRAG(LLMMemory(ScriptedLLM(quoting)), passage_size=60)
    memo.memorize([Document(text * 5, id, {"kind": id}) for id, text in TEXTS.items()], progress=False)
    assert len(memo.corpus.index) > 3
    memo.retrieve(QUERY, mode=mode, filters=lambda metadata: asked.append(1) is None and metadata["kind"] != "sea")
    assert len(asked) == 3


# ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_filter_admits_is_known_by_document() -> None:
    memo = in_pieces("activation")
    memo.add([Document("Anna again.", "more", {"kind": "mill"})], progress=False)
    index = memo.corpus.index
    assert index.admitted(None) is None
    assert index.admitted({"kind": list(TEXTS)}) is None
    admitted = index.admitted({"kind": "mill"})
    assert isinstance(admitted, Admitted)
    assert admitted.whole == {"more"}
    assert {id: [p.id for p in passages] for id, passages in admitted.parts.items()} == {"all": ["mill"]}
    nothing = index.admitted({"kind": "none"})
    assert nothing is not None
    assert not nothing.whole | nothing.parts.keys()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 25)), min_size=1, max_size=6), st.data())
def test_a_place_in_an_excerpt_leads_to_the_same_text_in_the_document(ranges: list[tuple[int, int]], data: Any) -> None:
    text = "".join(chr(97 + (i * 7) % 26) if i % 5 else " " for i in range(85))
    pieces = [(start, min(start + length, len(text))) for start, length in ranges]
    passages = [
        Passage(str(n), "d", text[a:b], a, b, (a + b) / 2) for n, (a, b) in enumerate(pieces) if text[a:b].strip()
    ]
    if not passages:
        return
    admitted = Admitted(None, None, frozenset(), {"d": passages})  # type: ignore[arg-type]
    excerpts = Excerpts.of(Shard((Document(text, "d"), Document("other", "o"))), admitted)
    [excerpt] = excerpts.shard.documents
    for passage in passages:
        assert passage.text in excerpt.text
        assert passage_range(text, passage) == (passage.start, passage.end)
    stretches = excerpt.text.split(Shard.SEPARATOR)
    stretch = data.draw(st.sampled_from([s for s in stretches if s]))
    at = excerpt.text.index(stretch)
    start, end = sorted((data.draw(st.integers(0, len(stretch) - 1)), data.draw(st.integers(1, len(stretch)))))
    clue = Clue("x", grounding=Grounding("d", at + start, at + end, 1.0))
    [placed] = excerpts.in_documents(Recall("q", (clue,))).clues
    assert placed.grounding is not None
    assert text[placed.grounding.start : placed.grounding.end] == stretch[start:end]


def test_a_passage_that_does_not_stand_in_its_document_is_asked_without_a_place() -> None:
    llm = ScriptedLLM(quoting)
    memo = MemoRAG(LLMMemory(llm))
    passages = [
        Passage("a", "d", "Anna sums up the whole.", 0, 9, 4.0, {"n": 1}),
        Passage("b", "d", "The safe is open.", 9, 20, 15.0, {"n": 2}),
    ]
    memo.memorize([Document("Quite another text than its passages.", "d")], split=lambda d: passages, progress=False)
    recall = memo.recall(QUERY, filters={"n": 1})
    assert text_of(llm.prompts[-1]) == "Anna sums up the whole."
    assert recall.clues
    assert all(clue.grounding is None and clue.document_id == "d" for clue in recall.clues)


def test_excluded_text_is_found_whatever_the_languages() -> None:
    memo = MemoRAG()
    memo.memorize(
        [
            Document("Die Mühle steht am Fluss, und der Müller schläft in der kleinen Kammer.", "de", {"n": 1}),
            Document("The keeper of the lighthouse sleeps in the small chamber every night.", "en", {"n": 2}),
        ],
        progress=False,
    )
    index = memo.corpus.index
    admitted = index.admitted({"n": 2})
    assert admitted is not None
    excluded = ExcludedText(index.terms, index.languages, admitted, "Who sleeps?")
    secret = {"Der Müller schläft", "in der kleinen Kammer"}
    assert excluded.among([*secret, "the keeper sleeps in the small chamber", ""]) == secret
    assert excluded.among([]) == set()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=9)), min_size=1, max_size=6
    ),
    st.lists(st.sampled_from("abcdefgx"), min_size=1, max_size=8),
)
def test_a_run_is_excluded_where_it_stands_in_excluded_passages_alone(
    passages: list[tuple[bool, list[str]]], letters: list[str]
) -> None:
    """Against reading them all, with common words: each letter stands for one, and each has a document that admits it."""
    words = dict(
        zip("abcdefgx", ["lantern", "ledger", "anchor", "barrel", "bridle", "kettle", "mirror", "saddle"], strict=True)
    )
    rows = [*passages, *((True, [letter]) for letter in "abcdefg"), (False, ["a"])]
    memo = MemoRAG(language="en")
    documents = [
        Document(f"the {' '.join(words[letter] for letter in row)}", str(n), {"open": admitted})
        for n, (admitted, row) in enumerate(rows)
    ]
    memo.memorize(documents, progress=False)
    admitted = memo.corpus.index.admitted({"open": True})
    assert admitted is not None

    def stands(run: str, is_open: bool) -> bool:
        return any(run in "".join(row) for admitted, row in rows if admitted is is_open)

    joined = "".join(letters)
    runs = {joined[i : i + 4] for i in range(max(1, len(joined) - 3))}
    expected = any(stands(run, False) and not stands(run, True) for run in runs)
    text = " ".join(words[letter] for letter in letters)
    index = memo.corpus.index
    assert ExcludedText(index.terms, index.languages, admitted, "Who?").among([text]) == ({text} if expected else set())
