"""The hosts' own remedies for evidence that is cut too short, on the same passages and vectors as everything else.

Each takes the ranking of a base method and gives ranges of text, best first. Sources: LlamaIndex's
`PrevNextNodePostprocessor`, `AutoMergingRetriever`, `QueryFusionRetriever` and `SentenceWindowNodeParser`, LangChain's
`ParentDocumentRetriever`. Where a remedy needs a number that the host leaves to its user, it is the host's default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Range = tuple[str, int, int]
"""A document's id, and the first and last character of a stretch of it."""

Place = tuple[str, int]
"""A document's id, and the number of a passage in it."""

RRF_K = 60
"""Constant of reciprocal rank fusion (Cormack et al., SIGIR 2009), as LlamaIndex has it."""

FUSED = 50
"""Hits of each retriever that are fused."""

MERGED_HITS = 12
MERGE_FACTOR = 4
MERGE_SHARE = 0.5
"""Auto-merging: hits looked at, children of a parent, and the share of them that must be exceeded."""

WINDOW = 3
"""Sentences on either side of one that is found."""


@dataclass(frozen=True)
class Ranked:
    """A ranking of passages by some method.

    Args:
        places: Best first.
        lengths: Passages in each document.
    """

    places: Sequence[Place]
    lengths: Mapping[str, int]


Units = list[tuple[Place, ...]]
"""What a remedy gives, best first: passages that stand in a row in one document, each group one piece."""


def with_neighbours(before: int, after: int) -> Callable[[Ranked], Units]:
    """Each hit with the passages around it, each passage once."""

    def expand(ranked: Ranked) -> Units:
        seen: dict[Place, None] = {}
        for document, number in ranked.places:
            for near in range(max(number - before, 0), min(number + after, ranked.lengths[document] - 1) + 1):
                seen.setdefault((document, near))
        return [(place,) for place in seen]

    return expand


def parents(size: int) -> Callable[[Ranked], Units]:
    """In the place of each hit its parent: so many passages, the parent of the best hit first, each parent once."""

    def climb(ranked: Ranked) -> Units:
        begins = dict.fromkeys((document, number - number % size) for document, number in ranked.places)
        return [group(place, size, ranked.lengths) for place in begins]

    return climb


def group(first: Place, size: int, lengths: Mapping[str, int]) -> tuple[Place, ...]:
    document, begin = first
    return tuple((document, number) for number in range(begin, min(begin + size, lengths[document])))


def auto_merge(ranked: Ranked) -> Units:
    """The first hits, those that make up more than half of a parent replaced by it, over two levels; then the others.

    A parent stands where the mean of its children's ranks puts it.
    """
    nodes: dict[tuple[int, Place], float] = {
        (1, place): float(rank) for rank, place in enumerate(ranked.places[:MERGED_HITS])
    }
    for size in (MERGE_FACTOR, MERGE_FACTOR**2):
        below = size // MERGE_FACTOR
        children: dict[Place, list[tuple[int, Place]]] = {}
        for node in nodes:
            if node[0] == below:
                document, number = node[1]
                children.setdefault((document, number - number % size), []).append(node)
        for parent, found in children.items():
            whole = -(-len(group(parent, size, ranked.lengths)) // below)
            if whole > 1 and len(found) / whole > MERGE_SHARE:
                nodes[(size, parent)] = sum(nodes.pop(node) for node in found) / len(found)
    merged: Units = []
    seen: set[Place] = set()
    for size, place in sorted(nodes, key=lambda node: nodes[node]):
        members = group(place, size, ranked.lengths)
        if place not in seen:
            merged.append(members)
            seen.update(members)
    return merged + [(place,) for place in ranked.places[MERGED_HITS:] if place not in seen]


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Place]]) -> list[Place]:
    """1 / (60 + rank), summed over the rankings."""
    scores: dict[Place, float] = {}
    for places in rankings:
        for rank, place in enumerate(places[:FUSED]):
            scores[place] = scores.get(place, 0.0) + 1 / (RRF_K + rank)
    return sorted(scores, key=lambda place: -scores[place])


REMEDIES: dict[str, tuple[str, Callable[[Ranked], Units]]] = {
    "next-2": ("hybrid", with_neighbours(0, 2)),
    "one-each-side": ("hybrid", with_neighbours(1, 1)),
    "plain-next-2": ("plain", with_neighbours(0, 2)),
    "plain-one-each-side": ("plain", with_neighbours(1, 1)),
    "parents-2": ("hybrid", parents(2)),
    "parents-4": ("hybrid", parents(4)),
    "parents-8": ("hybrid", parents(8)),
    "auto-merge": ("hybrid", auto_merge),
}
"""By name: the mode whose ranking is taken, and the remedy."""
