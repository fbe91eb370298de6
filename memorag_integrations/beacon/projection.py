"""The routed projection: raw rows go through the ordinary weights, beacon rows through the beacon ones.

It stands in for q_proj, k_proj and v_proj of a stock decoder, so that nothing in the model's own code changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layout import Stride


class Route:
    """Which rows of the current pass are beacons. One object shared by all projections of a model, set before a pass.

    A periodic layout is taken apart by a reshape; any other (the ends of a prompt, branches) by indices.
    """

    def __init__(self) -> None:
        self.all_raw()

    def all_raw(self) -> None:
        self.beacons = 0
        self._groups: tuple[int, int] | None = None

    def follow(self, stride: Stride, device: torch.device) -> None:
        """The rows of one window's pass."""
        self.beacons = stride.beacons
        self._groups = (stride.beacons, stride.period) if stride.whole_groups else None
        if self.beacons and self._groups is None:
            self._index(stride.raw_positions(), stride.positions(), device)

    def rows(self, raw: Sequence[int], beacons: Sequence[int], device: torch.device) -> None:
        """Any rows: `raw` and `beacons` together are each row once."""
        self.beacons, self._groups = len(beacons), None
        if self.beacons:
            self._index(raw, beacons, device)

    def _index(self, raw: Sequence[int], beacons: Sequence[int], device: torch.device) -> None:
        self._raw = torch.tensor(raw, dtype=torch.long, device=device)
        self._beacon = torch.tensor(beacons, dtype=torch.long, device=device)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, rows, width] → raw rows [batch, raw, width] and beacon rows [batch, beacons, width], in order."""
        if not self.beacons:
            return rows, rows[:, :0]
        if self._groups:
            count, period = self._groups
            grouped = rows.reshape(rows.shape[0], count, period, -1)
            return grouped[:, :, :-1].flatten(1, 2), grouped[:, :, -1]
        return rows.index_select(1, self._raw.to(rows.device)), rows.index_select(1, self._beacon.to(rows.device))

    def join(self, raw: Tensor, beacons: Tensor) -> Tensor:
        """The inverse of `split`; `beacons` may be of batch 1 and a single row, which is then repeated."""
        if not self.beacons:
            return raw
        rows = torch.empty(raw.shape[0], raw.shape[1] + self.beacons, raw.shape[2], dtype=raw.dtype, device=raw.device)
        if self._groups:
            count, period = self._groups
            grouped = rows.view(rows.shape[0], count, period, -1)
            grouped[:, :, :-1] = raw.reshape(raw.shape[0], count, period - 1, -1)
            grouped[:, :, -1] = beacons
        else:
            rows[:, self._raw.to(rows.device)] = raw
            rows[:, self._beacon.to(rows.device)] = beacons.to(raw.dtype)
        return rows


class RoutedLinear(nn.Module):
    """Two linear maps over the rows of one tensor, [batch, rows, in] → [batch, rows, out].

    Args:
        raw: The model's own projection, of any kind (quantised ones too).
        beacon: That of the beacon rows.
        route: Says which rows are which.
    """

    def __init__(self, raw: nn.Module, beacon: nn.Module, route: Route) -> None:
        super().__init__()
        self.raw, self.beacon, self.route = raw, beacon, route

    def forward(self, rows: Tensor) -> Tensor:
        raw, beacons = self.route.split(rows)
        projected: Tensor = self.raw(raw)
        return self.route.join(projected, self.beacon(beacons)) if self.route.beacons else projected
