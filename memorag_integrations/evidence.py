"""A ranking becomes evidence: repeats collapsed, neighbours merged, a budget kept, and on every piece what found it."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from .clues import Recall
from .contracts import Floats, Scores
from .documents import Passage
from .errors import InputError

Signal = Literal["bm25", "dense", "neighbourhood", "memory", "reranker"]

NOTED_RANK = 50
"""A signal is named as having found a passage where it ranks it this high among all candidates."""

LOOKED_BEYOND = 15
"""Places of the ranking after the last piece taken, in which passages that repeat one of the pieces are still found."""

SHINGLE = 5
"""Words (characters, where no blanks are written) of the runs by which two passages are compared."""

REPEAT = 0.7
"""Share of the shorter passage's shingles that the longer one holds, from which the two are one evidence."""


@dataclass(frozen=True)
class FoundBy:
    """One reason why a passage is here.

    Args:
        by: "query", or a clue's text.
        signal: Which signal ranked it: its terms, its vector, its neighbourhood in the text, the memory's own pointer, a
            reranker.
        rank: At which place among all candidates, from 1.
        weight: What the query or the clue counted in the sum; the query's is 1.
    """

    by: str
    signal: Signal
    rank: int
    weight: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """A passage that bears on the query.

    Args:
        passage: The passage; where neighbours were merged, their whole stretch.
        score: In [0, 1], falling along the ranking; comparable within one query only.
        found_by: The reasons, the best rank first; none for a passage that no signal speaks for.
        raw: The scores behind it: "bm25", "dense" (cosine), "own" and "neighbourhood" (z-scores), "fused";
            "reranker" where one read it, in its own range.
        repeats: Other passages that say the same, and are not shown again.
    """

    passage: Passage
    score: float
    found_by: Sequence[FoundBy] = ()
    raw: dict[str, float] = field(default_factory=dict)
    repeats: Sequence[Passage] = ()

    @property
    def text(self) -> str:
        return self.passage.text

    @property
    def document_id(self) -> str:
        return self.passage.document_id

    def provenance(self) -> dict[str, Any]:
        """All but text and metadata, as JSON: what the hosts put under their one metadata key."""
        return {
            "document_id": self.passage.document_id,
            "passage_id": self.passage.id,
            "start": self.passage.start,
            "end": self.passage.end,
            "score": self.score,
            "raw": self.raw,
            "found_by": [
                {"by": found.by, "signal": found.signal, "rank": found.rank, "weight": found.weight}
                for found in self.found_by
            ],
            "repeats": [
                {"document_id": twin.document_id, "passage_id": twin.id, "start": twin.start, "end": twin.end}
                for twin in self.repeats
            ],
        }

    def to_json(self) -> dict[str, Any]:
        return {"text": self.passage.text, "metadata": dict(self.passage.metadata), **self.provenance()}


@dataclass(frozen=True)
class Selection:
    """How much of a ranking is wanted.

    Args:
        k: Most pieces of evidence, or None.
        budget: Most characters of their texts together, or None; the piece that would pass it, and all after, are left out,
            but the first is always given.
        cutoff: Least score.
    """

    k: int | None = 5
    budget: int | None = None
    cutoff: float = 0.0

    def __post_init__(self) -> None:
        for name, value, what in (("k", self.k, "pieces of evidence"), ("budget", self.budget, "characters")):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
                raise InputError(f"{name} must be a whole number of {what}, at least 1; found {value!r}.")
        if not 0 <= self.cutoff <= 1:
            raise InputError(f"cutoff must be a score between 0 and 1, found {self.cutoff!r}.")


def select(fused: Floats, reasons: Reasons, selection: Selection) -> list[Evidence]:
    """Walk down the ranking until enough is found; what repeats a piece already taken is noted on it instead."""
    kept: list[Evidence] = []
    prints: list[frozenset[int]] = []
    used = 0
    passages = reasons.candidates.passages
    order = np.argsort(-fused, kind="stable")
    full, last = False, len(order)
    for place, row in enumerate(order):
        score = 1 / (1 + float(np.exp(-float(fused[row]))))
        if selection.k is not None and len(kept) >= selection.k and not full:
            full, last = True, place + LOOKED_BEYOND
        if place >= last or score < selection.cutoff:
            break
        passage = passages[row]
        shingles = _shingles(passage.text)
        twin = next((i for i, other in enumerate(prints) if _repeat(shingles, other)), None)
        if twin is not None:
            kept[twin] = replace(kept[twin], repeats=(*kept[twin].repeats, passage))
        if twin is not None or full:
            continue
        used += len(passage.text)
        if selection.budget is not None and used > selection.budget and kept:
            full, last = True, place + LOOKED_BEYOND
            continue
        kept.append(Evidence(passage, score, reasons.of(int(row)), reasons.raw(int(row), fused)))
        prints.append(shingles)
    return kept


class Reasons:
    """Ranks of every candidate by every signal, of the query and of each clue that was searched with.

    Args:
        query: Its scores.
        clues: The clues' scores, and their weights.
        recall: What the memory said: clues that point to a place are a reason for the passages there.
        signals: Those that took part in the ranking.
        asked: What the query is called among the reasons.
    """

    def __init__(
        self,
        query: Scores,
        clues: Sequence[Scores] = (),
        weights: Sequence[float] = (),
        recall: Recall | None = None,
        signals: Sequence[Signal] = ("bm25", "dense", "neighbourhood"),
        asked: str = "query",
    ) -> None:
        self.candidates = query.candidates
        self._query = query
        self._reread: dict[int, FoundBy] = {}
        self._said: Mapping[int, float] = {}
        self._before: Floats | None = None
        self._ranks: list[tuple[str, Signal, float, Floats, np.ndarray[Any, Any]]] = []
        for by, scores, weight in [(asked, query, 1.0), *zip([c.text for c in clues], clues, weights, strict=True)]:
            if weight <= 0:
                continue
            known: dict[Signal, Floats | None] = {
                "bm25": scores.bm25,
                "dense": scores.dense,
                "neighbourhood": scores.activation,
            }
            for signal, values in known.items():
                if signal in signals and values is not None and values.size:
                    order = np.empty(len(values), dtype=np.intp)
                    order[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
                    self._ranks.append((by, signal, weight, values, order))
        self._pointers = [(i, clue) for i, clue in enumerate(recall.clues if recall else (), 1) if clue.grounding]

    @property
    def query(self) -> str:
        return self._query.text

    def reread(self, order: Sequence[int], said: Mapping[int, float], before: Floats) -> Reasons:
        """The same, and what a reranker said.

        Args:
            order: The rows it read, its best first.
            said: Its score of each.
            before: The fused scores that it found, [n].
        """
        reasons = copy.copy(self)
        reasons._reread = {row: FoundBy(self.query, "reranker", place) for place, row in enumerate(order, 1)}
        reasons._said, reasons._before = said, before
        return reasons

    @property
    def any(self) -> bool:
        """Whether anything at all speaks for one candidate rather than another."""
        return any(bool(values.any()) for _, _, _, values, _ in self._ranks)

    def of(self, row: int) -> tuple[FoundBy, ...]:
        every = [
            FoundBy(by, signal, int(ranks[row]), weight)
            for by, signal, weight, values, ranks in self._ranks
            if (signal != "bm25" or values[row] > 0) and values.any()
        ]
        found = [one for one in every if one.rank <= NOTED_RANK] or sorted(every, key=lambda one: one.rank)[:1]
        passage = self.candidates.passages[row]
        for place, clue in self._pointers:
            at = clue.grounding
            if (
                at is not None
                and passage.start is not None
                and passage.end is not None
                and at.document_id == passage.document_id
                and at.start < passage.end
                and passage.start < at.end
            ):
                found.append(FoundBy(clue.text, "memory", place, clue.weight if clue.weight is not None else 1.0))
        if row in self._reread:
            found.append(self._reread[row])
        return tuple(sorted(found, key=lambda one: one.rank))

    def raw(self, row: int, fused: Floats) -> dict[str, float]:
        query = self._query
        raw = {"bm25": float(query.bm25[row])}
        if query.dense is not None:
            raw["dense"] = float(query.dense[row])
        raw["own"] = float(query.own[row])
        raw["neighbourhood"] = float(query.activation[row])
        raw["fused"] = float((fused if self._before is None else self._before)[row])
        if row in self._said:
            raw["reranker"] = self._said[row]
        return {name: round(value, 6) for name, value in raw.items()}


@dataclass(frozen=True)
class Ranking:
    """All candidates of a query, ranked.

    Args:
        fused: float32 [n], to be sorted by.
        reasons: What speaks for each.
    """

    fused: Floats
    reasons: Reasons


def merge_neighbours(evidence: Sequence[Evidence], texts: Mapping[str, str]) -> list[Evidence]:
    """Evidence of our own cutting with nothing but blanks between becomes one piece, exactly as it stands in the text.

    A piece stands where its best part stood, with that part's score, and carries the reasons and repeats of all parts.

    Args:
        evidence: Best first.
        texts: Each document's text, by id.
    """
    ours = [i for i, piece in enumerate(evidence) if piece.passage.host is None and piece.passage.start is not None]
    groups: list[list[int]] = []
    for i in sorted(ours, key=lambda i: (evidence[i].document_id, evidence[i].passage.start or 0)):
        if groups and _touch([evidence[j].passage for j in groups[-1]], evidence[i].passage, texts):
            groups[-1].append(i)
        else:
            groups.append([i])
    merged = dict(enumerate(evidence))
    for i in ours:
        del merged[i]
    for group in groups:
        merged[min(group)] = _join([evidence[i] for i in group], evidence[min(group)], texts)
    return [merged[i] for i in sorted(merged)]


def _touch(before: Sequence[Passage], passage: Passage, texts: Mapping[str, str]) -> bool:
    """Whether nothing but blanks lies between the passages before and this one; they may overlap."""
    if before[0].document_id != passage.document_id:
        return False
    end = max(earlier.end or 0 for earlier in before)
    return not texts[passage.document_id][end : passage.start].strip()


def _join(parts: Sequence[Evidence], best: Evidence, texts: Mapping[str, str]) -> Evidence:
    start, end = parts[0].passage.start, max(part.passage.end or 0 for part in parts)
    if len(parts) == 1 or start is None:
        return best
    whole = replace(
        best.passage,
        id=f"{best.document_id}:{start}-{end}",
        text=texts[best.document_id][start:end],
        start=start,
        end=end,
        centre=(start + end) / 2,
    )
    reasons = sorted({found for part in parts for found in part.found_by}, key=lambda one: (one.rank, one.signal))
    return replace(
        best,
        passage=whole,
        found_by=tuple(reasons),
        repeats=tuple(twin for part in parts for twin in part.repeats),
    )


_WORDS = re.compile(r"\w+")


def _shingles(text: str) -> frozenset[int]:
    words = _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) * 12 < len(text):  # no blanks between words: compare by characters
        words = list("".join(words)) or list("".join(text.split()))  # signs alone speak for themselves
    if len(words) < SHINGLE:
        return frozenset([hash(tuple(words))])
    return frozenset(hash(run) for run in _runs(words))


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(SHINGLE)), strict=False)


def _repeat(a: frozenset[int], b: frozenset[int]) -> bool:
    return len(a & b) >= REPEAT * min(len(a), len(b))
