"""Search with clues: the texts of a recall that are searched for, and the weight of each clue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..clues import Grounding, Recall, weighted
from ..scores import Scores
from ..text.sentences import pieces
from . import fusion
from .fusion import WeightedClue

MOST_WEIGHED = 4
"""Clues of several memories that are weighed, for each that is kept. The memories' own confidence picks these."""


@dataclass(frozen=True)
class ClueQueries:
    """The texts that are searched for beside the query: each clue, and each of its sentences.

    A draft answer speaks of several places, and as a whole is near none of them; its sentences are.

    Args:
        clues: Text of each clue, once, and its sentences. The one sentence of a clue is the clue itself.
    """

    clues: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, recall: Recall) -> ClueQueries:
        """Those of a recall; none where its clues are peaks of the query's own scores."""
        if not recall.fuse:
            return cls({})
        return cls({clue.text: pieces(clue.text) for clue in recall.clues if clue.text != recall.query})

    @property
    def texts(self) -> list[str]:
        """All texts, each once."""
        return list(dict.fromkeys(text for clue, sentences in self.clues.items() for text in (clue, *sentences)))

    def weigh(self, query: Scores, texts: Sequence[Scores], recall: Recall, most: int) -> list[WeightedClue]:
        """The clues with their scores and weights, the highest weight first.

        Args:
            query: The query's scores.
            texts: The scores of each of `self.texts`, over the same candidates.
            recall: The recall that the clues are from.
            most: Most clues that are returned.
        """
        by_text = {scores.text: scores for scores in texts}
        clues = [by_text[text] for text in self.clues]
        weights = fusion.clue_weights(query, clues, [groundedness(recall, text) for text in self.clues])
        weighted_clues = [
            WeightedClue(
                fusion.lift_grounded(clue, best_grounding(recall, clue.text)),
                [by_text[sentence] for sentence in self.clues[clue.text] if sentence != clue.text],
                weight,
            )
            for clue, weight in zip(clues, weights, strict=True)
        ]
        return sorted(weighted_clues, key=lambda clue: -clue.weight)[:most]


def keep_heaviest(recall: Recall, clues: Sequence[WeightedClue], most: int) -> Recall:
    """`recall` with the `most` clues of the highest weight, whichever memory gave them, and their weights.

    The confidences of memories over different texts do not compare. The weight beside the query is one scale for all.
    """
    weights = {clue.scores.text: clue.weight for clue in clues}
    recall_with_weights = weighted(recall, weights)
    if len(recall.clues) <= most:
        return recall_with_weights
    heaviest = sorted(recall_with_weights.clues, key=lambda clue: -(clue.weight or 0.0))[:most]
    return replace(recall_with_weights, clues=tuple(heaviest))


def best_grounding(recall: Recall, text: str) -> Grounding | None:
    """The grounding with the highest score among the clues of this text."""
    groundings = [clue.grounding for clue in recall.clues if clue.text == text and clue.grounding]
    return max(groundings, key=lambda grounding: grounding.score, default=None)


def groundedness(recall: Recall, text: str) -> float:
    """How well the clue of this text is grounded, in [0, 1]; a surrogate question need not be."""
    if all(clue.kind == "question" for clue in recall.clues if clue.text == text):
        return fusion.UNGROUNDED
    grounding = best_grounding(recall, text)
    return grounding.score if grounding else 0.0
