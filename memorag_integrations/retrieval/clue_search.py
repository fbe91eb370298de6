"""What of a recall is searched for, and what comes of it: each clue, its pieces, its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..clues import Grounding, Recall, weighted
from ..scores import Scores
from ..text.sentences import pieces
from . import fusion as fusing
from .fusion import Lead

MOST_WEIGHED = 4
"""Clues of several memories that are weighed, for each that is kept: of these the memories' own belief in them decides."""


@dataclass(frozen=True)
class Searches:
    """The texts to search for beside the query.

    Args:
        clues: Each clue's text once, and its pieces: a draft answer speaks of several places, and as a whole is near
            none of them. A clue of one sentence has no pieces but itself.
    """

    clues: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, recall: Recall) -> Searches:
        """Those of a recall; none where its clues are peaks of the query's own scores."""
        if not recall.fuse:
            return cls({})
        return cls({clue.text: pieces(clue.text) for clue in recall.clues if clue.text != recall.query})

    @property
    def texts(self) -> list[str]:
        """Every text once."""
        return list(dict.fromkeys(text for clue, parts in self.clues.items() for text in (clue, *parts)))

    def leads(self, query: Scores, found: Sequence[Scores], recall: Recall, most: int) -> list[Lead]:
        """The clues with what the index says of them and of their pieces, those of the highest weight first.

        Args:
            query: The query's scores.
            found: Of each of `texts`, over the same candidates.
            recall: Where the clues are from.
            most: Clues kept.
        """
        by_text = {scores.text: scores for scores in found}
        clues = [by_text[text] for text in self.clues]
        weights = fusing.clue_weights(query, clues, [groundedness(recall, text) for text in self.clues])
        leads = [
            Lead(
                fusing.placed(clue, place_of(recall, clue.text)),
                [by_text[part] for part in self.clues[clue.text] if part != clue.text],
                weight,
            )
            for clue, weight in zip(clues, weights, strict=True)
        ]
        return sorted(leads, key=lambda lead: -lead.weight)[:most]


def best(recall: Recall, leads: Sequence[Lead], most: int) -> Recall:
    """`recall` with the clues that weigh most, whichever memory gave them, and their weights.

    Memories over different texts are each sure of their clues in their own way; what a clue weighs beside the query is one
    scale for all.
    """
    weights = {lead.clue.text: lead.weight for lead in leads}
    said = weighted(recall, weights)
    if len(recall.clues) <= most:
        return said
    kept = sorted(said.clues, key=lambda clue: -(clue.weight or 0.0))[:most]
    return replace(said, clues=tuple(kept))


def place_of(recall: Recall, text: str) -> Grounding | None:
    """The best place that the clue of this text was found at."""
    places = [clue.grounding for clue in recall.clues if clue.text == text and clue.grounding]
    return max(places, key=lambda place: place.score, default=None)


def groundedness(recall: Recall, text: str) -> float:
    """How well the clue of this text is grounded; a surrogate question need not be."""
    if all(clue.kind == "question" for clue in recall.clues if clue.text == text):
        return fusing.UNGROUNDED
    place = place_of(recall, text)
    return place.score if place else 0.0
