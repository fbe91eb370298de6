"""Which vector space an embedder writes into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EmbedderFingerprint:
    """Which vector space an embedder writes into.

    Two embedders share a space when the dimension is the same and a fixed probe text gets the same vector (cosine at
    least 0.99): the same weights in another folder, on another device or in another precision pass, others do not.

    Args:
        name: For people: the class and the model.
        dimension: Of its vectors.
        probe: The vector of `PROBE`, rounded.
    """

    PROBE = "A memory formed over the whole corpus names what matters."
    name: str
    dimension: int
    probe: tuple[float, ...]

    def same_space(self, other: EmbedderFingerprint) -> bool:
        if self.dimension != other.dimension:
            return False
        return float(np.dot(self.probe, other.probe)) >= 0.99 * float(
            np.linalg.norm(self.probe) * np.linalg.norm(other.probe)
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.dimension} dimensions)"
