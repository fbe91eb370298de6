"""What the original MemoRAG's `memorize(save_dir=…)` leaves in a folder: recognised by name, never opened.

memory.bin    a pickle by torch.save: keys and values, or whatever else is in it
index.bin     FAISS's own format, without the texts
chunks.json   the passages' texts
"""

from __future__ import annotations

from pathlib import Path

from ..errors import StoreError

MEMORY, INDEX, CHUNKS = "memory.bin", "index.bin", "chunks.json"


def refusal(folder: Path) -> StoreError | None:
    """Why a folder of the original's is not opened and what to run instead; None where it is not one.

    Args:
        folder: Any path; where it is the memory's file itself, the folder around it counts.
    """
    home = folder.parent if folder.name == MEMORY and folder.is_file() else folder
    found = [name for name in (MEMORY, INDEX, CHUNKS) if (home / name).is_file()]
    if MEMORY not in found and found != [INDEX, CHUNKS]:
        return None
    pickle = f"{MEMORY} is a pickle, and reading one runs whatever code stands in it. " if MEMORY in found else ""
    texts = f" {CHUNKS} still has the text, in pieces." if CHUNKS in found else ""
    return StoreError(
        f"{home} was written by the original MemoRAG ({', '.join(found)}). It is not opened: {pickle}It holds no offsets "
        f"and nothing of what this project's stores need. It was left as it is. Memorize the text again into another "
        f"folder: `memorag memorize TEXT --store FOLDER`, or memorize(text, save_dir=…) of MemoRAG or compat.MemoRAG.{texts}"
    )
