"""A formed long-context memory: the whole cache of each part, asked as `PromptedMemory` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..decoding import storage as stored
from ..decoding.branches import Entries
from ..decoding.causal import PrefixBranches
from ..documents import Shard
from .kv_memory import Part, PromptedMemory

if TYPE_CHECKING:
    from .longcontext import LongContextMemory


@dataclass(frozen=True)
class FormedLongContextMemory(PromptedMemory):
    """A memory over one shard.

    Args:
        model: What made it.
        shard: The text.
        parts: In the order of the text; one unless it was beyond the window.
        entries: Keys and values of each layer, [1, kv heads, tokens of the part, head size]; the layers of the first
            part, then those of the second, ….
    """

    model: LongContextMemory
    shard: Shard
    parts: tuple[Part, ...]
    entries: Entries = field(repr=False)

    def branches(self, part: int, count: int) -> PrefixBranches:
        layers = len(self.entries) // len(self.parts)
        return PrefixBranches(self.model.decoder, self.entries[layers * part : layers * (part + 1)], count)

    def save(self, path: Path) -> None:
        model = self.model
        about = model.about(self.shard, self.entries[0][0].dtype, self.token_count)
        layout = {"parts": [[*part.place, part.tokens] for part in self.parts]}
        stored.save(path, self.entries, model.storage, model.fingerprint, about, layout=layout)
