"""Text and Markdown files, and folders of them, as documents."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..documents import Document
from ..errors import InputError

logger = logging.getLogger(__name__)

SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst")
"""The files that are read of a folder. A file that is named itself may have any suffix."""

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""Byte order marks, and the encodings that they tell."""

_SAMPLE = 8192
"""Bytes in which a NUL shows that a file is binary."""


def read_files(paths: Iterable[str | Path]) -> Iterator[Document]:
    """A document a file, named by its path as given; of a folder, every text and Markdown file below it, sorted.

    A file that is reached twice is read once.

    In a folder, what turns out not to be text is passed over with a warning; a file named by itself must be text.

    Raises:
        InputError: For a path that is missing, unreadable or binary, or a folder without texts.
    """
    seen: set[str] = set()
    for path in map(Path, paths):
        try:
            files = _below(path) if path.is_dir() else [path]
        except OSError as error:
            raise _unreadable(path, error) from error
        if not files:
            raise InputError(f"Expected text files ({', '.join(SUFFIXES)}) below {path}, found none.")
        for file in files:
            try:
                place = os.path.realpath(file)
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                raise _unreadable(file, error) from error
            if place in seen:
                continue
            seen.add(place)
            try:
                yield read_file(file)
            except InputError as error:
                if file is path:
                    raise
                logger.warning("Passed over: %s", error)


def read_file(path: Path) -> Document:
    """One file, in UTF-8, or in UTF-16 with its byte order mark.

    Raises:
        InputError: Where it is missing, unreadable or not text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"Expected a file or a folder at {path}, found nothing. Check the path.") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\x00" in data[:_SAMPLE]:
        raise InputError(f"{path} is binary; text was expected. Convert it to text or Markdown first.")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        name, source = ("UTF-16", "UTF-16") if encoding == "utf-16" else ("UTF-8", "LATIN1")
        raise InputError(
            f"{path} is not {name} text (byte {error.start}). Convert it, for example with: iconv -c -f {source} -t UTF-8 OLD > NEW"
        ) from error
    return Document(text, path.as_posix(), {"path": path.as_posix()})


def _unreadable(path: Path, error: OSError | ValueError) -> InputError:
    why = getattr(error, "strerror", None) or error
    return InputError(f"{str(path)[:200]} cannot be read ({why}). Check its permissions, and its name.")


def _below(folder: Path) -> list[Path]:
    """The text files below a folder, sorted; hidden files and folders (".git") are left out."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    visible = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    texts = sorted(file for file in visible if file.suffix.lower() in SUFFIXES)
    if texts and len(texts) < len(visible):
        others = sorted({file.suffix or "no suffix" for file in visible} - set(SUFFIXES))
        logger.warning(
            "Left out %d of %d files below %s (%s). Name a file itself to take it whatever its suffix.",
            len(visible) - len(texts), len(visible), folder, ", ".join(others[:8]),
        )  # fmt: skip
    return texts
