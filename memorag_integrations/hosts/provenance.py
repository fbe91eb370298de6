"""Provenance in the metadata of what a host is given, where it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..evidence import Evidence
from .passage_ids import host_id

logger = logging.getLogger(__name__)

KEY = "memorag"
"""The metadata key of the provenance."""

_moved: set[str] = set()


def provenance_key(metadata: Mapping[str, Any]) -> str:
    """`KEY`, or the next free name where the user's metadata has that key; that is logged once."""
    key = KEY
    while key in metadata:
        key = f"{KEY}_provenance" if key == KEY else f"{key}_"
    if key != KEY and key not in _moved:
        _moved.add(key)
        logger.warning("The metadata has a key %r of its own, and keeps it: the provenance is under %r.", KEY, key)
    return key


def provenance_of(evidence: Evidence) -> dict[str, Any]:
    """The provenance of a piece of evidence, with the id that the host knows the passage by."""
    return {"id": host_id(evidence.passage), **evidence.provenance()}
