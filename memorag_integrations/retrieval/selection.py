"""Selection: a ranking becomes evidence. Repeats collapse, neighbours merge, and the budget is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from ..documents import Passage
from ..errors import InputError
from ..evidence import Evidence
from ..scores import Floats
from .calibration import Doubles
from .provenance import Provenance
from .repeats import Repeats, Shown, Wording

LOOKED_BEYOND = 15
"""How far below the last piece of evidence the ranking is searched for passages that repeat one."""


@dataclass(frozen=True)
class Selection:
    """How much of a ranking is wanted.

    Args:
        k: Most pieces of evidence, or None.
        budget: Most characters of their texts together, or None. The piece that exceeds it and all later ones are left
            out, but never the first.
        cutoff: Least score. 0.03 with an embedder and 0.08 without (`calibration`) give nothing where nothing answers.
        repeats: "collapse" shows passages that say the same to a reader (`retrieval/repeats.py`) once, the best of them, with
            the places of the others; "keep" shows each.
    """

    k: int | None = 5
    budget: int | None = None
    cutoff: float = 0.0
    repeats: Repeats = "collapse"

    def __post_init__(self) -> None:
        for name, value, what in (("k", self.k, "pieces of evidence"), ("budget", self.budget, "characters")):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
                raise InputError(f"{name} must be a whole number of {what}, at least 1; found {value!r}.")
        if not isinstance(self.cutoff, int | float | np.integer | np.floating) or not 0 <= self.cutoff <= 1:
            raise InputError(f"cutoff must be a score between 0 and 1, found {self.cutoff!r}.")
        if self.repeats not in get_args(Repeats):
            raise InputError(f"repeats must be one of {', '.join(get_args(Repeats))}; found {self.repeats!r}.")

    @classmethod
    def of(cls, k: int | None, budget: int | None, cutoff: float = 0.0) -> Selection:
        """k and budget as given; 5 pieces where neither is."""
        return cls(5 if k is None and budget is None else k, budget, cutoff)


def select(
    fused: Floats, provenance: Provenance, selection: Selection, scores: Doubles | None = None
) -> list[Evidence]:
    """The best passages that are no repeats; a repeat is noted on the piece that it repeats.

    Args:
        fused: float32 [n], to be sorted by.
        provenance: What found each candidate.
        selection: How much is wanted.
        scores: What each piece is given as its score, float64 [n], falling along the ranking (`calibration`); None for a
            logistic function of `fused`.
    """
    scores = 1 / (1 + np.exp(-np.clip(fused.astype(np.float64), -700, 700))) if scores is None else scores
    kept: list[Evidence] = []
    shown = Shown()
    used = 0
    passages = provenance.candidates.passages
    order = np.argsort(-fused, kind="stable")
    full, last = False, len(order)
    for place, row in enumerate(order):
        score = float(scores[row])
        if selection.k is not None and len(kept) >= selection.k and not full:
            full, last = True, place + LOOKED_BEYOND
        if place >= last or score < selection.cutoff:
            break
        passage = passages[row]
        if selection.repeats == "collapse":
            wording = Wording(passage.text)
            twin = shown.repeated_by(wording)
            if twin is not None:
                kept[twin] = replace(kept[twin], repeats=(*kept[twin].repeats, passage))
                continue
        if full:
            continue
        used += len(passage.text)
        if selection.budget is not None and used > selection.budget and kept:
            full, last = True, place + LOOKED_BEYOND
            continue
        kept.append(Evidence(passage, score, provenance.of(int(row)), provenance.raw(int(row), fused)))
        if selection.repeats == "collapse":
            shown.add(wording)
    return kept


def merge_neighbours(evidence: Sequence[Evidence], texts: Mapping[str, str]) -> list[Evidence]:
    """Passages that our splitter cut, and that only blanks separate, become one piece of evidence: a range of the text.

    It has the rank and score of its best part, and the provenance and repeats of all parts.

    Args:
        evidence: Best first.
        texts: Each document's text, by id.
    """
    cut_by_us = [
        i for i, piece in enumerate(evidence) if piece.passage.host is None and piece.passage.start is not None
    ]
    groups: list[list[int]] = []
    for i in sorted(cut_by_us, key=lambda i: (evidence[i].document_id, evidence[i].passage.start or 0)):
        if groups and _touch([evidence[j].passage for j in groups[-1]], evidence[i].passage, texts):
            groups[-1].append(i)
        else:
            groups.append([i])
    merged = dict(enumerate(evidence))
    for i in cut_by_us:
        del merged[i]
    for group in groups:
        merged[min(group)] = _merged([evidence[i] for i in group], evidence[min(group)], texts)
    return [merged[i] for i in sorted(merged)]


def _touch(earlier: Sequence[Passage], passage: Passage, texts: Mapping[str, str]) -> bool:
    """Whether only blanks lie between earlier passages of a document and this one; they may overlap."""
    if earlier[0].document_id != passage.document_id:
        return False
    end = max(one.end or 0 for one in earlier)
    return not texts[passage.document_id][end : passage.start].strip()


def _merged(parts: Sequence[Evidence], best: Evidence, texts: Mapping[str, str]) -> Evidence:
    start, end = parts[0].passage.start, max(part.passage.end or 0 for part in parts)
    if len(parts) == 1 or start is None:
        return best
    merged = replace(
        best.passage,
        id=f"{best.document_id}:{start}-{end}",
        text=texts[best.document_id][start:end],
        start=start,
        end=end,
        centre=(start + end) / 2,
    )
    found_by = sorted({one for part in parts for one in part.found_by}, key=lambda one: (one.rank, one.signal))
    return replace(
        best,
        passage=merged,
        found_by=tuple(found_by),
        repeats=tuple(passage for part in parts for passage in part.repeats),
    )
