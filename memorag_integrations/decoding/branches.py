"""Branches: several sequences that go on from one prefix, in one pass, without a copy of it.

A batch would hold the prefix once for each row. Here the branches' tokens stand one after another in a single
sequence: each has its own position ids, all attend to the prefix where it lies, and a small mask over the branches'
own entries keeps them apart. The prefix is only ever read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .attention import KVPart
from .cache import GrowingCache

Entries = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [1, kv heads, length, head size]."""
LEAST_DEAD = 1024
"""Entries that no branch sees any more before the own cache is packed."""


class SharedPrefix:
    """What all branches see, and behind it a tail that each sees until it leaves it behind.

    Args:
        entries: The frozen keys and values; none at all for branches that start from nothing.
        tail: How many of the last entries are the tail.
        branches: How many.
    """

    def __init__(self, entries: Entries, tail: int, branches: int) -> None:
        self.entries, self.tail = entries, tail
        self.length = entries[0][0].shape[2] if entries else 0
        self.sees_tail = [True] * branches
        self._mask: Tensor | None = None
        self._end = self.length
        self.own_start = 0

    def look(self, owners: Sequence[int], device: torch.device) -> None:
        """Prepare for a pass whose rows belong to these branches."""
        seeing = [self.sees_tail[owner] for owner in owners]
        mixed = self.tail > 0 and any(seeing) and not all(seeing)
        self._end = self.length if all(seeing) else self.length - self.tail
        if mixed:
            hidden = torch.tensor([0.0 if sees else float("-inf") for sees in seeing], device=device)
        self._mask = hidden.unsqueeze(1).expand(-1, self.tail) if mixed else None

    def parts(self, layer: int) -> list[KVPart]:
        if not self.length:
            return []
        keys, values = self.entries[layer]
        parts = [KVPart(keys[:, :, : self._end], values[:, :, : self._end])] if self._end else []
        if self._mask is not None:
            mask = self._mask.to(keys.device)
            parts.append(KVPart(keys[:, :, self._end :], values[:, :, self._end :], mask))
        return parts


class BranchCache(GrowingCache):
    """The branches' own entries, in the order they came, and which branch sees which."""

    def __init__(self, layers: int, branches: int) -> None:
        super().__init__(layers)
        self.branches = branches
        self.owners: list[int] = []
        self.alive: list[bool] = []

    def admit(self, owners: Sequence[int], device: torch.device) -> tuple[int, Tensor | None]:
        """Note that a pass will append rows of these branches.

        Returns:
            How many of the first entries none of the rows sees, and the mask over the rest, float32
            [1, 1, rows, entries], to be added to the scores; None where plain causal attention says the same.
        """
        before = len(self.owners)
        self.owners += owners
        self.alive += [True] * len(owners)
        present = set(owners)
        seen = [alive and owner in present for owner, alive in zip(self.owners, self.alive, strict=True)]
        start = seen.index(True)
        if len(present) == 1 and all(seen[start:]):
            return start, None
        entry = torch.tensor(self.owners[start:], device=device)
        alive = torch.tensor(self.alive[start:], device=device)
        order = torch.arange(len(entry), device=device)
        rows = slice(before - start, None)
        sees = (entry[rows, None] == entry) & alive & (order[rows, None] >= order)
        mask = torch.full(sees.shape, float("-inf"), device=device).masked_fill_(sees, 0.0)
        return start, mask[None, None]

    def retract(self, length: int) -> None:
        """Forget what came after the first `length` entries: a pass failed."""
        del self.owners[length:], self.alive[length:]
        self.truncate(length)

    def adopt(self, owner: int, entries: Entries) -> None:
        """Append entries that come from elsewhere."""
        count = entries[0][0].shape[2]
        for layer, (keys, values) in enumerate(entries):
            self.update(keys, values, layer)
        self.owners += [owner] * count
        self.alive += [True] * count

    def slots(self, owner: int) -> list[int]:
        """The entries that a branch sees, in order."""
        return [i for i, (o, alive) in enumerate(zip(self.owners, self.alive, strict=True)) if alive and o == owner]

    def forget(self, slots: Sequence[int]) -> None:
        """Hide entries from everyone."""
        for slot in slots:
            self.alive[slot] = False

    def pack(self) -> list[int] | None:
        """Drop hidden entries where they are many. Gives the old place of each entry kept, or None for no change."""
        kept = [i for i, alive in enumerate(self.alive) if alive]
        if len(self.alive) - len(kept) < max(LEAST_DEAD, len(kept)):
            return None
        index = torch.tensor(kept)
        for layer in self.layers:
            for buffer in layer.buffers:
                buffer[:, :, : len(kept)] = buffer.index_select(2, index.to(buffer.device))
        self.truncate(len(kept))
        self.owners = [self.owners[i] for i in kept]
        self.alive = [True] * len(kept)
        return kept
