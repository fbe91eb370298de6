"""The base of memories, and memories of a user's own that derive from nothing: what they lack is said, what they have counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memorag_integrations import Clue, Document, MemoRAG, Recall, Usage
from memorag_integrations.clues import Completion
from memorag_integrations.contracts import Memory, MemoryModel
from memorag_integrations.contracts.conformance import missing_members
from memorag_integrations.documents import Shard
from memorag_integrations.errors import InputError, MemoryModelError
from memorag_integrations.memories.activation import ActivationMemoryModel
from memorag_integrations.memories.base import BaseMemory, BaseMemoryModel, hash_of_scores
from memorag_integrations.memories.llm import LLMMemory
from memorag_integrations.memories.random import RandomMemoryModel
from memorag_integrations.memories.recall_cache import CachedMemoryModel, cached
from memorag_integrations.prompts import prompts_for
from memorag_integrations.scores import Scores

from ..memory_contract import scores_of, shard
from ..scripted import ScriptedLLM

DOCUMENTS = [
    Document("The mill stood by the river. Anna kept the mill.", "mill", {"kind": "a"}),
    Document("Tomas left the mill for the sea.", "sea", {"kind": "b"}),
]


class Own:
    """A memory of a user's own: derives from nothing, and reads the scores alone."""

    token_count = nbytes = 1
    reads_text = False

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def recall(self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: Any = None) -> list[Recall]:
        self.asked += queries
        return [
            Recall(query, tuple(Clue(passage.text) for passage in scored.candidates.passages))
            for query, scored in zip(queries, scores, strict=True)
        ]

    async def arecall(self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: Any = None) -> list[Recall]:
        return self.recall(queries, scores=scores)

    def save(self, path: Path) -> None:
        path.mkdir()


class OwnModel:
    """Its model; every property but the fingerprint raises when it is read at a bad time."""

    config = None
    capacity: int | None = 1000
    fingerprint = "own-1"

    def __init__(self, memory: type = Own) -> None:
        self.memory = memory
        self.asked: list[str] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def form(self, shard: Shard, *, progress: Any = None, cancel: Any = None) -> Any:
        return self.memory(self.asked)

    def load(self, path: Path, shard: Shard) -> Any:
        return self.memory(self.asked)


def without(cls: type, *names: str) -> type:
    """`cls` without some of its members."""
    kept = {name: value for name, value in vars(cls).items() if name not in names and not name.startswith("__")}
    return type(f"{cls.__name__}Without", (), {**kept, "__init__": cls.__init__})


def memorized(model: object) -> MemoRAG:
    memo = MemoRAG(model)  # type: ignore[arg-type]
    memo.memorize(DOCUMENTS, progress=False)
    return memo


# ---- what is missing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["load"], ["config"], ["form", "fingerprint", "capacity"], ["count_tokens"]])
def test_a_model_that_lacks_members_is_refused_with_all_of_them(names: list[str]) -> None:
    model = without(OwnModel, *names)()
    with pytest.raises(InputError) as raised:
        MemoRAG(model)
    assert all(name in str(raised.value).partition("which lacks")[2] for name in names)
    assert "OwnModelWithout" in str(raised.value)
    assert "BaseMemoryModel" in str(raised.value)


@pytest.mark.parametrize("model", [3, None, object(), OwnModel, LLMMemory, [OwnModel()]])
def test_what_is_no_memory_model(model: object) -> None:
    with pytest.raises(InputError, match=r"form, load|load, form|config, fingerprint"):
        MemoRAG(model)  # type: ignore[arg-type]


def test_a_class_is_no_model_of_it() -> None:
    with pytest.raises(InputError, match=r"RandomMemoryModel\(…\)"):
        MemoRAG(RandomMemoryModel)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [["arecall"], ["recall", "save"], ["nbytes", "token_count"]])
def test_a_memory_that_lacks_members_is_refused_when_it_is_formed(names: list[str], tmp_path: Path) -> None:
    memo = MemoRAG(OwnModel(without(Own, *names)))  # type: ignore[arg-type]
    with pytest.raises(MemoryModelError) as raised:
        memo.memorize(DOCUMENTS, progress=False, save_dir=tmp_path / "store")
    assert all(name in str(raised.value).partition("which lacks")[2] for name in names)
    assert "OwnModel.form" in str(raised.value)


@pytest.mark.parametrize("wrong", [None, 3, Own])
def test_what_is_no_memory_is_refused_when_it_is_formed(wrong: object) -> None:
    with pytest.raises(MemoryModelError, match=r"OwnModel\.form"):
        MemoRAG(OwnModel(lambda asked: wrong)).memorize(DOCUMENTS, progress=False)  # type: ignore[arg-type]


def test_a_memory_that_lacks_members_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    memorized(OwnModel()).save(tmp_path / "store")
    with pytest.raises(MemoryModelError, match=r"OwnModel\.load.*arecall"):
        MemoRAG.load(tmp_path / "store", memory=OwnModel(without(Own, "arecall")))  # type: ignore[arg-type]
    assert MemoRAG.load(tmp_path / "store", memory=OwnModel()).recall("Who?").clues  # type: ignore[arg-type]


def test_a_memory_that_inherits_a_declaration_lacks_the_method() -> None:
    class NoRecall(Memory):
        token_count = nbytes = 1

        def __init__(self, asked: list[str]) -> None: ...

        def save(self, path: Path) -> None: ...

    with pytest.raises(MemoryModelError, match="which lacks recall"):
        MemoRAG(OwnModel(NoRecall)).memorize(DOCUMENTS, progress=False)  # type: ignore[arg-type]


def test_a_memory_that_answers_too_few_queries() -> None:
    silent = type("Silent", (Own,), {"recall": lambda self, queries, **how: []})
    with pytest.raises(MemoryModelError, match="Expected 1 recalls from Silent"):
        memorized(OwnModel(silent)).recall("Who?")


def test_no_property_is_evaluated_at_construction() -> None:
    def fail(self: object) -> Any:
        raise RuntimeError("a checkpoint would be downloaded")

    names = ("config", "fingerprint", "capacity", "together", "llm", "usage")
    model = type("Late", (OwnModel,), {name: property(fail) for name in names})()
    assert not missing_members(model, MemoryModel)
    MemoRAG(model)  # type: ignore[arg-type]
    MemoRAG(LLMMemory(ScriptedLLM("", None)))  # its window is not known until it is asked for


# ---- capabilities -------------------------------------------------------------------------------------------------


def test_a_model_without_capabilities_has_the_defaults() -> None:
    model = cached(OwnModel())
    assert (model.together, model.llm, model.context_window, model.usage, model.gate) == (1, None, None, Usage(), None)
    memory = model.form(shard())
    assert model.groups([memory, memory, memory], 2) == [[0], [1]]
    with pytest.raises(InputError, match="Own has no language model"):
        memory.summarize()
    memo = MemoRAG(OwnModel(), generator=ScriptedLLM("x"))  # type: ignore[arg-type]
    memo.memorize(DOCUMENTS, progress=False)
    with pytest.raises(InputError, match="Own has no language model"):
        memo.summarize(method="key-points")


def test_what_a_model_of_ones_own_has_counts() -> None:
    class Able(OwnModel):
        together = 3
        llm = ScriptedLLM("Anna did.")
        usage = Usage(calls=7)

    class Speaking(Own):
        def summarize(self, *, cancel: Any = None) -> Completion:
            return Completion("Anna kept the mill.", Usage(calls=1))

    memo = memorized(Able(Speaking))
    assert memo.memory_model.together == 3
    assert memo.memory_model.usage.calls == 7
    assert memo.answer("Who kept the mill?").text == "Anna did."
    assert memo.summarize(method="key-points").text == "Anna did."


def test_the_defaults_of_the_base() -> None:
    class Brief(BaseMemoryModel):
        fingerprint = "brief-1"

        def count_tokens(self, text: str) -> int:
            return len(text)

        def read(self, shard: Shard, text: str, progress: Any, cancel: Any) -> Memory:
            progress("reading", 1, 1)
            return BriefMemory(text)

        def load(self, path: Path, shard: Shard) -> Memory:
            return BriefMemory(shard.text)

    @dataclass(frozen=True)
    class BriefMemory(BaseMemory):
        text: str
        token_count: int = 1
        nbytes: int = 1

        def recall(self, queries: Sequence[str], *, scores: Sequence[Scores], cancel: Any = None) -> list[Recall]:
            return [Recall(query, (Clue(self.text),)) for query in queries]

        def save(self, path: Path) -> None:
            path.mkdir()

    memo = memorized(Brief())
    assert memo.recall("Who kept the mill?").clues
    assert memo.memory_model.config is None
    assert memo.memory_model.capacity is None
    with pytest.raises(InputError, match="blank"):
        Brief().form(Shard((Document(" ", "d"),)))


# ---- what a recall depends on -------------------------------------------------------------------------------------


def test_a_memory_that_reads_the_scores_is_asked_anew_under_another_filter() -> None:
    model = OwnModel()
    memo = memorized(model)
    everything = memo.recall("Where is the mill?")
    one = memo.recall("Where is the mill?", filters={"kind": "a"})
    other = memo.recall("Where is the mill?", filters={"kind": "b"})
    texts = [{clue.text for clue in recall.clues} for recall in (everything, one, other)]
    assert texts[1]
    assert texts[2]
    assert not texts[1] & texts[2]
    assert texts[0] == texts[1] | texts[2]
    assert len(model.asked) == 3
    assert memo.recall("Where is the mill?", filters={"kind": "b"}).clues == other.clues
    assert len(model.asked) == 3


def changes() -> dict[str, Callable[[Scores], Scores]]:
    def passages(scores: Scores, **how: Any) -> Scores:
        first, *rest = scores.candidates.passages
        return replace(scores, candidates=replace(scores.candidates, passages=[replace(first, **how), *rest]))

    def candidates(scores: Scores, **how: Any) -> Scores:
        return replace(scores, candidates=replace(scores.candidates, **how))

    return {
        "fewer documents": lambda scores: scores.of_documents({"minutes"}),
        "bm25": lambda scores: replace(scores, bm25=scores.bm25 + 1),
        "dense": lambda scores: replace(scores, dense=scores.local),
        "local": lambda scores: replace(scores, local=scores.local + 1),
        "activation": lambda scores: replace(scores, activation=scores.local[::-1]),
        "text": lambda scores: replace(scores, text="another"),
        "terms": lambda scores: replace(scores, terms={3: 0.5}),
        "known terms": lambda scores: replace(scores, known_terms=0.5),
        "vector": lambda scores: replace(scores, vector=np.ones(3, dtype=np.float32)),
        "a passage's text": lambda scores: passages(scores, text="Another."),
        "a passage's metadata": lambda scores: passages(scores, metadata={"kind": "a"}),
        "a passage's id": lambda scores: passages(scores, id="another"),
        "median": lambda scores: candidates(scores, median_length=3.0),
        "centres": lambda scores: candidates(scores, centre=scores.candidates.centre + 1),
    }


@pytest.mark.parametrize("change", changes())
def test_whatever_the_scores_hold_is_in_the_default_key(change: str) -> None:
    scores = scores_of("How much?", shard())
    assert hash_of_scores(scores) == hash_of_scores(scores_of("How much?", shard()))
    assert hash_of_scores(changes()[change](scores)) != hash_of_scores(scores)


def ask(memory: Memory, query: str = "How much?", scores: Sequence[Scores] = ()) -> Recall:
    return memory.recall([query], scores=scores)[0]


def test_a_memory_is_not_asked_again_under_a_filter_that_admits_the_same_text() -> None:
    llm = ScriptedLLM(json.dumps({"spans": ["Anna kept the mill."]}))
    memo = memorized(LLMMemory(llm))
    for filters in (None, {"kind": ["a", "b"]}, {"kind": "a"}, {"kind": {"$ne": "b"}}, None):
        assert memo.recall("Where is the mill?", filters=filters).clues
    assert len(llm.prompts) == 2, "all of the text, and the part that two of the filters admit"


def test_prompts_that_are_replaced_are_asked_with() -> None:
    llm = ScriptedLLM(json.dumps({"spans": ["Ann opened the meeting"]}))
    model = LLMMemory(llm)
    memory = cached(model).form(shard())
    for prompts in (None, replace(prompts_for("en"), recall="Mine: {query}"), None):
        object.__setattr__(model, "prompts", prompts)
        assert ask(memory).clues
    assert len(llm.prompts) == 2


class Keyed(Own):
    key: Hashable = "same"

    def recall_key(self, query: str, scores: Scores | None) -> Hashable:
        return self.key


@pytest.mark.parametrize(("key", "asked"), [("same", 1), (None, 3), (0, 1)])
def test_the_key_of_a_memory_of_ones_own(key: Hashable, asked: int) -> None:
    model = OwnModel(type("Mine", (Keyed,), {"key": key}))
    memory = CachedMemoryModel(model).form(shard())  # type: ignore[arg-type]
    scores = [scores_of("How much?", shard())]
    for of_documents in ({"minutes"}, {"minutes-2"}, {"minutes"}):
        ask(memory, scores=[scores[0].of_documents(of_documents)])
    assert len(model.asked) == asked
    ask(memory, "Who?", scores=[scores_of("Who?", shard())])
    assert len(model.asked) == asked + 1, "the query is always in the key"


def test_a_key_that_is_none_is_asked_for_every_row() -> None:
    model = OwnModel(type("Mine", (Keyed,), {"key": None}))
    scores = scores_of("Who?", shard())
    recalls = CachedMemoryModel(model).form(shard()).recall(["Who?"] * 3, scores=[scores] * 3)  # type: ignore[arg-type]
    assert model.asked == ["Who?"] * 3
    assert len(recalls) == 3


def test_one_call_with_one_query_and_two_filters() -> None:
    model = OwnModel()
    scores = scores_of("Who?", shard())
    both = [scores.of_documents({"minutes"}), scores.of_documents({"minutes-2"})]
    one, other, again = CachedMemoryModel(model).form(shard()).recall(["Who?"] * 3, scores=[*both, both[0]])  # type: ignore[arg-type]
    assert one.clues != other.clues
    assert again.clues == one.clues
    assert len(model.asked) == 2


def test_a_key_that_cannot_be_one_is_refused() -> None:
    model = OwnModel(type("Mine", (Keyed,), {"key": ["a list"]}))
    with pytest.raises(MemoryModelError, match=r"Mine\.recall_key.*list"):
        ask(CachedMemoryModel(model).form(shard()), scores=[scores_of("Who?", shard())])  # type: ignore[arg-type]


def test_the_embedded_memory_is_never_kept() -> None:
    memory = CachedMemoryModel(ActivationMemoryModel()).form(shard())
    scores = scores_of("How much money?", shard())
    one, other = (ask(memory, "How much money?", [scores.of_documents({id})]) for id in ("minutes", "minutes-2"))
    assert {clue.text for clue in one.clues} != {clue.text for clue in other.clues}
    assert not memory._kept
