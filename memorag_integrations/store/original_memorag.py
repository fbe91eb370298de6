"""Files that the original MemoRAG's `memorize(save_dir=…)` writes: recognised by their names, never opened.

memory.bin    a pickle by torch.save: keys and values, or whatever else is in it
index.bin     FAISS's own format, without the texts
chunks.json   the passages' texts
"""

from __future__ import annotations

from pathlib import Path

from ..errors import StoreError

MEMORY, INDEX, CHUNKS = "memory.bin", "index.bin", "chunks.json"


def refusal(folder: Path) -> StoreError | None:
    """The error for a folder of the original MemoRAG, with what to run instead; None for any other folder.

    Args:
        folder: Any path; for the file `memory.bin` the folder around it is looked at.
    """
    home = folder.parent if folder.name == MEMORY and folder.is_file() else folder
    names = [name for name in (MEMORY, INDEX, CHUNKS) if (home / name).is_file()]
    if MEMORY not in names and names != [INDEX, CHUNKS]:
        return None
    pickle = f"{MEMORY} is a pickle, and reading one runs whatever code stands in it. " if MEMORY in names else ""
    texts = f" {CHUNKS} still has the text, in pieces." if CHUNKS in names else ""
    return StoreError(
        f"{home} was written by the original MemoRAG ({', '.join(names)}). It is not opened: {pickle}It holds no offsets "
        f"and nothing of what this project's stores need. It was left as it is. Memorize the text again into another "
        f"folder: `memorag memorize TEXT --store FOLDER`, or memorize(text, save_dir=…) of MemoRAG or compat.MemoRAG.{texts}"
    )
