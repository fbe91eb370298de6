"""Stores in format 2 that version 0.1 wrote, before its modules were renamed: they open, answer as then, change and verify.

`tests/stores/format2` holds four of them, with passages of 130 characters and `HashEmbedder(16)` where they have vectors:
`vectors` (changed five times), `lexical` (learned lexical weights beside BM25), `gists` (a host's passages, a memory of
gists), `llm` (vectors, and a memory that a language model reads). `answers.json` has what each answered when it was written.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memorag_integrations import Document, GistMemory, LLMMemory, MemoRAG
from memorag_integrations.contracts import LexicalEmbedder
from memorag_integrations.scores import LexicalWeights
from memorag_integrations.store.maintenance import Repair, compact, repair, verify
from memorag_integrations.store.paths import DATABASE
from tests.conftest import HashEmbedder
from tests.scripted import ScriptedLLM

STORES = Path(__file__).parents[1] / "stores" / "format2"
ANSWERS = json.loads((STORES / "answers.json").read_text("utf-8"))
REPLY = json.dumps(
    {
        "spans": ["The gauge had frozen", "the lower mill was carried away"],
        "questions": [],
        "answer": "The flood of 1987 came at night. The gauge had frozen, the alarm stayed silent",
    }
)
"""Word for word as in the texts, so that the clues' grounding is certain."""


class LexicalHashEmbedder(HashEmbedder, LexicalEmbedder):
    """Letters as tokens, their counts as weights."""

    @property
    def lexical(self):
        return "beside"

    def embed_lexical(self, texts):
        weights = []
        for text in texts:
            tokens, counts = np.unique([ord(letter) for letter in text], return_counts=True)
            weights.append(LexicalWeights(tokens.astype(np.uint32), counts.astype(np.float32)))
        return self.embed_passages(texts), weights


def recall_only(prompt):
    """The reply to a recall; no other prompt may be sent, because memories are stored."""
    assert '"spans"' in prompt, "a memory that is stored is not formed again"
    return REPLY


def models_of(name):
    """The embedder and the memory model of a store, made anew."""
    llm = ScriptedLLM(recall_only, window=20_000)
    return {
        "vectors": {"embedder": HashEmbedder(16)},
        "lexical": {"embedder": LexicalHashEmbedder(16)},
        "gists": {"memory": GistMemory(llm, folder="nowhere", stretch=300, words=20)},
        "llm": {"embedder": HashEmbedder(16), "memory": LLMMemory(llm)},
    }[name]


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_answers(memo, name):
    """The passages and vectors are those that were written. Terms are made again by what this version takes for a word,
    so BM25 and what follows from it may differ a little; the first place may not."""
    for query, expected in ANSWERS[name].items():
        evidence = memo.retrieve(query, 20)
        places = [(piece.document_id, piece.passage.start, piece.passage.end) for piece in evidence]
        written = {tuple(entry[:3]): entry[4] for entry in expected["found"]}
        assert set(places) == set(written)
        assert places[0] == next(iter(written)) or (query == places[0][0] == "河"), (
            query
        )  # now found by its one character
        for place, piece in zip(places, evidence, strict=True):
            assert piece.raw.get("dense") == pytest.approx(written[place].get("dense"), abs=1e-5)
        clues = {clue.text for clue in memo.recall(query).clues}
        if name in ("gists", "llm"):  # others are made from the scores
            assert clues == {text for text, _ in expected["clues"]}
        assert bool(clues) == bool(expected["clues"])


@pytest.fixture(params=sorted(ANSWERS))
def name(request):
    return request.param


@pytest.fixture
def copy(name, tmp_path):
    shutil.copytree(STORES / name, tmp_path / name)
    return tmp_path / name


def test_it_verifies_and_answers_as_it_did_when_it_was_written(name):
    before = snapshot(STORES / name)
    assert verify(STORES / name) == []
    memo = MemoRAG.load(STORES / name, **models_of(name))
    check_answers(memo, name)
    assert memo.embedder is None or memo.embedder.encoded == 0, "no passage is encoded again"
    assert snapshot(STORES / name) == before


def test_it_is_changed_and_what_was_there_is_not_written_again(name, copy):
    with closing(sqlite3.connect(copy / DATABASE)) as rows:
        before = set(rows.execute("SELECT number, id, seal, terms_seal FROM documents"))
        vectors = set(rows.execute("SELECT space, key, vector, seal FROM vectors"))
    models = models_of(name)
    if name == "gists":
        models["memory"] = GistMemory(
            ScriptedLLM("A lamp was lit.", window=20_000), folder=copy.parent, stretch=300, words=20
        )
    with MemoRAG.open(copy, **models) as memo:
        change = memo.add(Document("A new lamp was lit.", "new"), progress=False)
        assert change.added == ("new",)
        assert change.encoded == (0 if name == "gists" else 1)
    assert verify(copy) == []
    with closing(sqlite3.connect(copy / DATABASE)) as rows:
        assert before < set(rows.execute("SELECT number, id, seal, terms_seal FROM documents"))
        assert vectors <= set(rows.execute("SELECT space, key, vector, seal FROM vectors"))
    with MemoRAG.open(copy, **models_of(name)) as memo:
        memo.delete("new", progress=False)
        check_answers(memo, name)
    compact(copy)
    assert verify(copy) == []
    check_answers(MemoRAG.load(copy, **models_of(name)), name)


def test_it_is_repaired_to_what_it_was(name, copy):
    with closing(sqlite3.connect(copy / DATABASE)) as rows:
        rows.execute("UPDATE documents SET terms_seal = x'00' WHERE place = (SELECT min(place) FROM documents)")
        rows.commit()
    assert verify(copy)
    assert repair(copy, progress=False, **models_of(name)) == Repair(terms=1)
    assert verify(copy) == []
    check_answers(MemoRAG.load(copy, **models_of(name)), name)
