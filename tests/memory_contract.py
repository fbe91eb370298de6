"""What every memory must do. A new memory is one line in `MEMORIES` of test_memories.py."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from memorag_integrations.clues import Recall
from memorag_integrations.contracts import Memory, MemoryModel
from memorag_integrations.documents import Document, Passage, Shard, text_hash
from memorag_integrations.errors import Cancelled, InputError, MemoryModelError
from memorag_integrations.scores import Candidates, Scores

PARAGRAPHS = [
    "Ann opened the meeting at nine and greeted the three visitors from the harbour office.",
    "The committee then approved a budget of fifteen thousand euros for the new remote control.",
    "Bob objected that rubber cases had broken twice in the winter, and left before the vote.",
    "会议决定在三月底之前完成遥控器外壳的设计，由王丽负责联系工厂。",
    "Lunch was served in the garden, where Carla told everybody about the lighthouse.",
]
# Each must get a clue of every memory, also the first, which shares no word with the text.
QUERIES = ["How much money may be spent?", "Who was against it, and why?", "谁负责设计？"]


def shard(name: str = "minutes") -> Shard:
    return Shard((Document("\n\n".join(PARAGRAPHS), name), Document("A second document, about whales.", f"{name}-2")))


def scores_of(query: str, of: Shard) -> Scores:
    """Scores as an index would give them: shared letters stand in for terms."""
    passages = []
    for document in of.documents:
        start = 0
        for paragraph in document.text.split("\n\n"):
            end = start + len(paragraph)
            passages.append(Passage(f"{document.id}:{start}", document.id, paragraph, start, end, (start + end) / 2))
            start = end + 2
    numbers = {document.id: i for i, document in enumerate(of.documents)}
    bm25 = np.array([len(set(query.lower()) & set(p.text.lower())) for p in passages], dtype=np.float32)
    own = ((bm25 - bm25.mean()) / (bm25.std() or 1)).astype(np.float32)
    candidates = Candidates(
        passages,
        np.array([numbers[p.document_id] for p in passages], dtype=np.int32),
        np.array([p.centre for p in passages]),
        80.0,
    )
    return Scores(text=query, candidates=candidates, bm25=bm25, local=own, activation=own)


@dataclass(frozen=True)
class Subject:
    """A memory model under test.

    Args:
        make: The model; called again, another one of the same settings. Its folder is for whatever it keeps.
        asks: Whether a recall costs calls to a model.
    """

    make: Callable[[Path], MemoryModel]
    asks: bool = True


def ask(memory: Memory, of: Shard, queries: list[str] = QUERIES, **options: object) -> list[Recall]:
    return memory.recall(queries, scores=[scores_of(query, of) for query in queries], **options)  # type: ignore[arg-type]


def same(one: list[Recall], other: list[Recall]) -> bool:
    def view(recall: Recall) -> tuple[object, ...]:
        return recall.query, list(recall.clues), recall.answer, list(recall.warnings), recall.fuse

    return [view(recall) for recall in one] == [view(recall) for recall in other]


class MemoryContract:
    """The suite; the class that inherits it gives a fixture `subject`."""

    def test_form(self, subject: Subject, tmp_path: Path) -> None:
        model = subject.make(tmp_path)
        assert isinstance(model, MemoryModel)
        assert model.fingerprint == subject.make(tmp_path / "other").fingerprint
        assert model.capacity is None or model.capacity > 0
        assert model.config is None or json.loads(json.dumps(dict(model.config))) == dict(model.config)
        seen: list[tuple[str, int, int]] = []
        memory = model.form(shard(), progress=lambda stage, done, total: seen.append((stage, done, total)))
        assert isinstance(memory, Memory)
        assert memory.token_count > 0
        assert memory.nbytes >= 0
        assert all(stage and 0 <= done <= total for stage, done, total in seen)

    def test_recall_of_several_queries(self, subject: Subject, tmp_path: Path) -> None:
        of = shard()
        memory = subject.make(tmp_path).form(of)
        recalls = ask(memory, of)
        assert [recall.query for recall in recalls] == QUERIES
        for recall in recalls:
            assert recall.clues
            assert recall.usage.calls > 0 if subject.asks else recall.usage.calls == 0
            for clue in recall.clues:
                assert clue.text.strip()
                assert 0 <= clue.confidence <= 1
                assert clue.weight is None
                self._check_place(clue.grounding, of)
        assert same(ask(memory, of, QUERIES[1:2]), recalls[1:2])

    def _check_place(self, grounding: object, of: Shard) -> None:
        if grounding is None:
            return
        document = next(d for d in of.documents if d.id == grounding.document_id)  # type: ignore[attr-defined]
        assert 0 <= grounding.start < grounding.end <= len(document.text)  # type: ignore[attr-defined]
        assert 0 <= grounding.score <= 1  # type: ignore[attr-defined]

    async def test_arecall_is_recall(self, subject: Subject, tmp_path: Path) -> None:
        of = shard()
        memory = subject.make(tmp_path).form(of)
        scores = [scores_of(query, of) for query in QUERIES]
        assert same(await memory.arecall(QUERIES, scores=scores), ask(memory, of))

    def test_save_and_load(self, subject: Subject, tmp_path: Path) -> None:
        of = shard()
        memory = subject.make(tmp_path).form(of)
        before = ask(memory, of)
        memory.save(tmp_path / "saved")
        names = [path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()]
        assert names
        assert all(name.endswith((".json", ".safetensors")) for name in names)
        loaded = subject.make(tmp_path / "elsewhere").load(tmp_path / "saved", of)
        assert loaded.token_count == memory.token_count
        assert same(ask(loaded, of), before)

    def test_a_renamed_document_keeps_its_memory(self, subject: Subject, tmp_path: Path) -> None:
        subject.make(tmp_path).form(shard()).save(tmp_path / "saved")
        other = shard("renamed")
        loaded = subject.make(tmp_path).load(tmp_path / "saved", other)
        places = [clue.grounding for recall in ask(loaded, other) for clue in recall.clues if clue.grounding]
        assert {place.document_id for place in places} <= {"renamed", "renamed-2"}

    @pytest.mark.parametrize("damage", ["empty", "half", "list", "another text", "another model", "gone", "deep"])
    def test_broken_files(self, subject: Subject, tmp_path: Path, damage: str) -> None:
        of, model = shard(), subject.make(tmp_path)
        saved = tmp_path / "saved"
        model.form(of).save(saved)
        file = saved / "memory.json"
        content = file.read_text("utf-8")
        if damage == "gone":
            shutil.rmtree(saved)
        elif damage == "another text":
            of = Shard((Document("Another text altogether.", "minutes"),))
        else:
            file.write_text(
                {
                    "empty": "",
                    "half": content[: len(content) // 2],
                    "list": "[1, 2]",
                    "another model": json.dumps({**json.loads(content), "fingerprint": "foreign-9"}),
                    "deep": "[" * 100_000,
                }[damage],
                "utf-8",
            )
        with pytest.raises(MemoryModelError) as raised:
            model.load(saved, of)
        assert "emorize" in str(raised.value)
        if damage == "another model":
            assert "foreign-9" in str(raised.value)
            assert model.fingerprint in str(raised.value)

    @pytest.mark.parametrize("text", ["", "  \n\t ", "\u3000"])
    def test_a_blank_text_is_refused(self, subject: Subject, tmp_path: Path, text: str) -> None:
        with pytest.raises(InputError):
            subject.make(tmp_path).form(Shard((Document(text, "blank"),)))

    def test_text_that_is_not_text(self, subject: Subject, tmp_path: Path) -> None:
        of = Shard((Document("Ann met \ud800Bob\x00 at the \udfffharbour, said the committee of fifteen.", "odd"),))
        assert len(ask(subject.make(tmp_path).form(of), of, QUERIES[:1])) == 1

    def test_cancel(self, subject: Subject, tmp_path: Path) -> None:
        of, cancelled = shard(), threading.Event()
        cancelled.set()
        model = subject.make(tmp_path)
        with pytest.raises(Cancelled):
            model.form(of, cancel=cancelled)
        memory = model.form(of, cancel=threading.Event())
        with pytest.raises(Cancelled):
            ask(memory, of, cancel=cancelled)
        assert len(ask(memory, of, cancel=threading.Event())) == len(QUERIES)

    async def test_a_cancelled_await_and_the_next_one(self, subject: Subject, tmp_path: Path) -> None:
        of = shard()
        memory = subject.make(tmp_path).form(of)
        scores = [scores_of(query, of) for query in QUERIES]
        task = asyncio.create_task(memory.arecall(QUERIES, scores=scores))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await memory.arecall(QUERIES, scores=scores)) == len(QUERIES)

    def test_recalls_at_once_leave_the_memory_as_it_was(self, subject: Subject, tmp_path: Path) -> None:
        of = shard()
        memory = subject.make(tmp_path).form(of)
        memory.save(tmp_path / "before")
        alone = {query: ask(memory, of, [query]) for query in QUERIES}
        with ThreadPoolExecutor(6) as pool:
            work = [(query, pool.submit(ask, memory, of, [query])) for query in QUERIES * 4]
            assert all(same(future.result(), alone[query]) for query, future in work)
        memory.save(tmp_path / "after")
        assert folder_hash(tmp_path / "before") == folder_hash(tmp_path / "after")


def folder_hash(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return text_hash(*(str(path.relative_to(folder)) + path.read_bytes().hex() for path in files))
