"""The cache of gists: one small file each, named by the hash of all that shapes the gist, written when it comes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ..clues import Completion
from ..contracts import Progress
from ..documents import clean_text, text_hash
from ..errors import MemoryModelError
from ..llms.scheduling import ask
from ..prompts import fence
from ..replies.clue_parsing import parse_text
from .files import UNREADABLE
from .prompt_memory import PromptMemoryModel

_CHARACTERS_PER_WORD = 6


@dataclass
class GistCache:
    """The gists of texts by one template: those in the folder are read, the others are asked for and stored.

    A text that is no longer than a gist may be is its own gist.

    Args:
        model: The language model, its gate and its meter.
        folder: Where gists are kept.
        words: Most words of a gist.
        template: Of the prompt, with {tag}, {words} and {language}.
        spoken: The sentence that names the language of the reply.
        progress: Told of every gist.
        cancel: Ends the work when set; gists that had come are kept.
    """

    model: PromptMemoryModel
    folder: Path
    words: int
    template: str
    spoken: str
    progress: Progress
    cancel: threading.Event | None

    def gists(self, texts: Sequence[str], stage: str) -> tuple[list[str], int]:
        """The gist of each text, and for how many the language model gave none."""
        files = [self.folder / key[:2] / f"{key}.json" for key in map(self._key, texts)]
        short = _CHARACTERS_PER_WORD * self.words
        gists = [text if len(text) <= short else _stored(file) for text, file in zip(texts, files, strict=True)]
        missing = [i for i, gist in enumerate(gists) if gist is None]
        done = len(texts) - len(missing)
        self._report(stage, done, len(texts))

        def keep(chain: int, completion: Completion) -> None:
            nonlocal done
            i = missing[chain]
            self.model.meter.add(completion.usage)
            gist = parse_text(completion.text)
            if gist:
                _store(files[i], gist)
                gists[i] = gist
            done += 1
            self._report(stage, done, len(texts))

        if missing:
            model = self.model
            chains = [[self._prompt(texts[i])] for i in missing]
            ask(
                model.llm,
                chains,
                max_tokens=model.reply_tokens,
                gate=model.gate,
                cancel=self.cancel,
                arrived=keep,
                batch=True,
            )
        lost = sum(gist is None for gist in gists)
        return [gist or self._lead(text) for gist, text in zip(gists, texts, strict=True)], lost

    def _prompt(self, text: str) -> str:
        fenced, tag = fence(text)
        return fenced + self.template.format(tag=tag, words=self.words, language=self.spoken)

    def _key(self, text: str) -> str:
        return text_hash("gist-1", self.model.llm.name, self.template, self.spoken, str(self.words), text)

    def _lead(self, text: str) -> str:
        return " ".join(clean_text(text)[: _CHARACTERS_PER_WORD * self.words].split())

    def _report(self, stage: str, done: int, total: int) -> None:
        self.progress(stage, done, total)


def _stored(file: Path) -> str | None:
    """The gist in a file; None where there is none, or none that can be read: it is asked for anew."""
    try:
        gist = json.loads(file.read_text("utf-8"))["gist"]
    except (OSError, *UNREADABLE):
        return None
    return gist if isinstance(gist, str) and gist.strip() else None


def _store(file: Path, gist: str) -> None:
    """Whole or not at all: written beside, then renamed."""
    fresh = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.write_text(json.dumps({"gist": gist}, ensure_ascii=False), "utf-8")
        os.replace(fresh, file)
    except OSError as error:
        raise MemoryModelError(
            f"Gists are kept in {file.parent.parent}, which cannot be written to ({error}). Pass another folder=…"
        ) from error
