"""A formed beacon memory: a small cache and its window arithmetic, asked as `PromptedMemory` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..beacon import storage as stored
from ..beacon.branching import BeaconBranches
from ..beacon.layout import Layout
from ..decoding.branches import Entries
from ..documents import Shard
from .kv_memory import Part, PromptedMemory

if TYPE_CHECKING:
    from .beacon import BeaconMemory


@dataclass(frozen=True)
class FormedBeaconMemory(PromptedMemory):
    """A memory over one shard.

    Args:
        model: What made it.
        shard: The text.
        layout: Its numbers.
        entries: Keys and values of each layer, [1, kv heads, entries, head size].
    """

    model: BeaconMemory
    shard: Shard
    layout: Layout
    entries: Entries = field(repr=False)

    @property
    def parts(self) -> Sequence[Part]:  # type: ignore[override]
        return (Part((0, len(self.text)), self.layout.tokens),)

    def branches(self, part: int, count: int) -> BeaconBranches:
        return BeaconBranches(self.model.decoder, self.layout, self.entries, count)

    def save(self, path: Path) -> None:
        model = self.model
        about = model.about(self.shard, self.entries[0][0].dtype, self.layout.tokens)
        stored.save(path, self.entries, self.layout, model.storage, model.fingerprint, about)
