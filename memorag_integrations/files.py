"""Text and Markdown files, and folders of them, as documents."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from .documents import Document
from .errors import InputError

logger = logging.getLogger(__name__)

SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst")
"""What is taken from a folder; a file named by itself may have any suffix."""

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SAMPLE = 8192


def read_files(paths: Iterable[str | Path]) -> Iterator[Document]:
    """A document a file, named by its path as given; of a folder, every text and Markdown file below it, sorted.

    In a folder, what turns out not to be text is passed over with a warning; a file named by itself must be text.

    Raises:
        InputError: For a path that is missing, unreadable or binary, or a folder without texts.
    """
    seen: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            found = [file for file in _below(path) if file.resolve() not in seen]
            if not found:
                raise InputError(f"Expected text files ({', '.join(SUFFIXES)}) below {path}, found none that are new.")
            for file in found:
                seen.add(file.resolve())
                try:
                    yield read_file(file)
                except InputError as error:
                    logger.warning("Passed over: %s", error)
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            yield read_file(path)


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
        raise InputError(f"{path} cannot be read ({error.strerror or error}). Check its permissions.") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\x00" in data[:_SAMPLE]:
        raise InputError(f"{path} is binary; text was expected. Convert it to text or Markdown first.")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it, for example: iconv -f LATIN1 -t UTF-8."
        ) from error
    return Document(text, path.as_posix(), {"path": path.as_posix()})


def _below(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))
