"""Prompts as branches over one beacon memory: each reads on from it by its own window arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..decoding.branches import BranchCache, Entries, SharedPrefix
from ..errors import InputError
from .decoder import BeaconDecoder
from .layout import Layout, Step, Stride
from .rope import rotate, turns

ALONE = 16
"""Tokens above which a branch is read in a pass of its own."""


class BeaconBranches:
    """Branches of a memory, with beacons and compaction of their own. The memory is only read.

    The open window's entries are shared too, until a branch completes that window: then it takes moved copies of their
    beacons, and leaves the rest behind.

    Args:
        decoder: The model that formed the memory.
        layout: The memory's numbers.
        entries: Its keys and values, `layout.entries` of them, batch 1.
        count: How many branches.
    """

    def __init__(self, decoder: BeaconDecoder, layout: Layout, entries: Entries, count: int) -> None:
        self.decoder = decoder
        self.layouts = [layout] * count
        self._entries = entries
        self._shared = SharedPrefix(entries, layout.open.length, count)
        self._cache = BranchCache(decoder.model.config.num_hidden_layers, count)
        # The own entries of each branch's open window, in order, behind the shared tail's where it still sees that.
        self._window: list[list[int]] = [[] for _ in range(count)]

    @property
    def nbytes(self) -> int:
        """Bytes of the branches' own entries."""
        return self._cache.nbytes

    def check(self, tokens: Sequence[int]) -> None:
        """Whether each branch may read so many tokens more, generated ones included.

        Raises:
            InputError: Naming the ratio that would do.
        """
        for layout, count in zip(self.layouts, tokens, strict=True):
            self.decoder.check(layout, count)

    def feed(self, tokens: Sequence[Sequence[int]]) -> list[Tensor | None]:
        """Read tokens on each branch.

        Args:
            tokens: For each branch the ids to read; none for a branch that waits.

        Returns:
            For each branch the logits after its last token, float32 [vocabulary], or None where it read nothing.

        Raises:
            InputError: For ids that are no tokens, or a branch beyond the model's reach.
        """
        for layout, ids in zip(self.layouts, tokens, strict=True):
            self._check(layout, ids)
        pending = [list(ids) for ids in tokens]
        logits: list[Tensor | None] = [None] * len(pending)
        while any(pending):
            # A prompt is read alone, causally over what is its own; side by side it would need a mask over all.
            long = [branch for branch, ids in enumerate(pending) if len(ids) > ALONE][:1]
            for branch, found in self._round(pending, long or range(len(pending))).items():
                if not pending[branch]:
                    logits[branch] = found
        return logits

    def _check(self, layout: Layout, ids: Sequence[int]) -> None:
        bad = next((i for i in ids if not 0 <= i < self.decoder.beacon_token), None)
        if bad is not None:
            raise InputError(f"Expected token ids from 0 to {self.decoder.beacon_token - 1}, found {bad}.")
        self.decoder.check(layout, len(ids))

    @torch.inference_mode()
    def _round(self, pending: list[list[int]], branches: Iterable[int]) -> dict[int, Tensor]:
        """One pass: of each of these as many tokens as its window takes. Gives the logits of each one's last token."""
        steps = {branch: self.layouts[branch].step(len(pending[branch])) for branch in branches if pending[branch]}
        owners = [branch for branch, (step, _) in steps.items() for _ in range(step.stride.length)]
        device = self.decoder.device
        ids = [pending[branch][i] for branch, (step, _) in steps.items() for i in range(step.raw)]
        positions = [p for step, _ in steps.values() for p in range(step.start, step.start + step.stride.length)]
        before = self._cache.length
        with self.decoder.lock:
            raw, last = self._route([step.stride for step, _ in steps.values()])
            rows = self.decoder.embed(torch.tensor([ids]))
            self._shared.own_start, mask = self._cache.admit(owners, device)
            self._shared.look(owners, device)
            try:
                hidden = self.decoder.run(
                    rows, torch.tensor([positions], device=device), self._cache, mask, self._shared
                )
            except BaseException:
                self._cache.retract(before)
                raise
        found = self.decoder.logits(hidden[0, [raw[i] for i in last]])
        slot = before
        for branch, (step, after) in steps.items():
            self._window[branch] += range(slot, slot + step.stride.length)
            slot += step.stride.length
            del pending[branch][: step.raw]
            if step.completes:
                self._compact(branch, step)
            self.layouts[branch] = after
        self._pack()
        return dict(zip(steps, found, strict=True))

    def _route(self, strides: Sequence[Stride]) -> tuple[list[int], list[int]]:
        """Set the route. Gives the raw rows' places, and the index among them of each branch's last."""
        raw: list[int] = []
        beacons: list[int] = []
        last, offset = [], 0
        for stride in strides:
            raw += [offset + i for i in stride.raw_positions()]
            beacons += [offset + i for i in stride.positions()]
            last.append(len(raw) - 1)
            offset += stride.length
        self.decoder.route.rows(raw, beacons, self.decoder.device)
        return raw, last

    def _compact(self, branch: int, step: Step) -> None:
        """Keep the beacons of the window that `step` completes, at their places in memory; forget the rest."""
        layout = self.layouts[branch]
        window = layout.full_window(step)
        moves = [target - place for target, place in enumerate(window.positions())]
        shared = self._shared.tail if self._shared.sees_tail[branch] else 0
        taken = [place for place in window.positions() if place < shared]
        own = self._window[branch]
        kept = [own[place - shared] for place in window.positions() if place >= shared]
        self._move(kept, moves[len(taken) :])
        self._cache.forget(sorted(set(own) - set(kept)))
        self._window[branch] = []
        self._shared.sees_tail[branch] = False
        if taken:
            self._take(branch, taken, moves[: len(taken)])

    def _move(self, slots: list[int], moves: list[int]) -> None:
        if not slots:
            return
        index = torch.tensor(slots)
        turn = turns(torch.tensor(moves), self.decoder.frequencies)
        for layer in self._cache.layers:
            here = index.to(layer.keys.device)
            layer.keys[:, :, here] = rotate(layer.keys[:, :, here], turn)

    def _take(self, branch: int, places: list[int], moves: list[int]) -> None:
        start = self._shared.length - self._shared.tail
        index = torch.tensor([start + place for place in places])
        turn = turns(torch.tensor(moves), self.decoder.frequencies)
        taken = []
        for keys, values in self._entries:
            here = index.to(keys.device)
            taken.append((rotate(keys.index_select(2, here), turn), values.index_select(2, here)))
        self._cache.adopt(branch, taken)

    def _pack(self) -> None:
        kept = self._cache.pack()
        if kept is not None:
            place = {old: new for new, old in enumerate(kept)}
            self._window = [[place[slot] for slot in slots] for slots in self._window]
