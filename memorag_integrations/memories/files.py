"""The one small file of a memory that holds text and numbers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..documents import Shard
from ..errors import MemoryModelError

UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of content that is not as we write it: other types, missing keys, Infinity as a place, lists without end."""


def write_memory(path: Path, fingerprint: str, content_hash: str, content: dict[str, Any]) -> None:
    """Make the folder `path` and put `content` into it, with the model's fingerprint and the hash of the text."""
    path.mkdir(parents=True)
    head = {"format": 1, "fingerprint": fingerprint, "content": content_hash}
    (path / "memory.json").write_text(json.dumps({**head, **content}, ensure_ascii=False), "utf-8")


def read_memory(path: Path, fingerprint: str, shard: Shard) -> dict[str, Any]:
    """What `write_memory` wrote for this shard.

    Raises:
        MemoryModelError: Where it is broken, or of another model or text.
    """
    try:
        stored = json.loads((path / "memory.json").read_text("utf-8"))
        model, content = stored["fingerprint"], stored["content"]
    except (OSError, *UNREADABLE) as error:
        raise broken(path, error) from error
    if model != fingerprint or content != shard.content_hash:
        raise MemoryModelError(
            f"Expected a memory of {fingerprint} over text {shard.content_hash[:12]}, found at {path} one of {model} "
            f"over text {str(content)[:12]}. Memorize the text again, or pass the model it was made with."
        )
    return dict(stored)


def broken(path: Path, error: Exception) -> MemoryModelError:
    return MemoryModelError(
        f"The memory at {path} cannot be read ({type(error).__name__}: {error}). Memorize the text again."
    )
