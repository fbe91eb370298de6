"""Tiny checkpoints, each made once."""

from __future__ import annotations

from tests.beacon.conftest import checkpoints

__all__ = ["checkpoints"]
