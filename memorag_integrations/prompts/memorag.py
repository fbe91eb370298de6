"""The original project's prompts, read out of an installed `memorag` distribution without importing or running it."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

from ..errors import MemoryModelError
from .beacon import BeaconPrompts

FILE = "memorag/prompt.py"
VARIABLES = {"en": "en_prompts", "zh": "zh_prompts"}
INSTALL = "pip install --no-deps memorag"
KEYS = {"reading": "context", "spans": "span", "questions": "sur", "answer": "qa", "key_points": "sum"}
"""Our names, and the keys of the original's dictionary."""
ACKNOWLEDGEMENT = "dull_reply"


def installed_prompts(language: str) -> BeaconPrompts:
    """The prompts that the published checkpoints were trained with.

    Args:
        language: "en" or "zh".

    Raises:
        MemoryModelError: Where `memorag` is not installed, or its prompts are not where they were.
    """
    path = _find()
    prompts = _dictionary(path, VARIABLES[language])
    missing = [key for key in [*KEYS.values(), ACKNOWLEDGEMENT] if not isinstance(prompts.get(key), str)]
    if missing:
        raise MemoryModelError(
            f"Expected the prompts {', '.join(KEYS.values())} and {ACKNOWLEDGEMENT} in {path}, found no "
            f"{', '.join(missing)}. This version of memorag is not known; leave out prompts='memorag'."
        )
    texts = {name: str(prompts[key]) for name, key in KEYS.items()}
    texts["reading"] = texts["reading"].replace("{context}", "{text}")
    return BeaconPrompts(**texts, acknowledgement=str(prompts[ACKNOWLEDGEMENT]))


def _find() -> Path:
    try:
        files = metadata.files("memorag") or []
    except metadata.PackageNotFoundError:
        raise MemoryModelError(
            f"prompts='memorag' reads the original's prompts from an installed memorag, and none is installed. "
            f"Install it without what it depends on: {INSTALL}"
        ) from None
    for file in files:
        if file.as_posix() == FILE:
            return Path(str(file.locate()))
    raise MemoryModelError(f"The installed memorag has no {FILE}. Install it again: {INSTALL} --force-reinstall")


def _dictionary(path: Path, variable: str) -> dict[object, object]:
    """The literal assigned to `variable` at the top of a module."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
                value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
                if isinstance(value, dict):
                    return value
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        raise MemoryModelError(
            f"The prompts in {path} cannot be read ({error}). Install it again: {INSTALL}"
        ) from error
    raise MemoryModelError(f"Expected a dictionary {variable} in {path}, found none. Leave out prompts='memorag'.")
