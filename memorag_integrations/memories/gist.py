"""The memory of gists: a language model compresses each part of a text to a gist; queries are asked over the gists.

This is the lite mode of MemoRAG (arXiv 2409.05591), for texts of millions of tokens on small machines. Every gist keeps
the range of text that it stands for, so a clue from a gist has a place in the text.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import NamedTuple

from ..contracts import Memory, Progress
from ..documents import Shard, clean_text, text_hash
from ..errors import InputError, MemoryModelError
from ..prompts import prompts_for
from ..prompts.languages import detect, reply_sentence
from ..text.chunking import Range, content_chunks, fit_to_tokens
from ..text.grounding import Grounder
from .files import UNREADABLE, broken, read_memory, write_memory
from .gist_cache import GistCache
from .prompt_memory import PromptMemory, PromptMemoryModel, check_counts

_JOIN = "\n\n"
_ROUNDS = 8


class Gist(NamedTuple):
    """A gist of the range [start, end) of a shard's text."""

    start: int
    end: int
    text: str


Level = tuple[Gist, ...]


def default_folder() -> Path:
    """The folder of gists by default: `memorag/gists` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memorag" / "gists"


@dataclass(frozen=True, kw_only=True)
class GistMemory(PromptMemoryModel):
    """Settings of a memory of gists.

    Every gist is written to `folder` when it comes, named by the hash of its text and of all that shapes it. So a stop
    loses at most the prompts under way, and the next run continues; an edited document asks only for the stretches that
    changed. Where the gists do not fit the window together, neighbours are joined into gists of gists, level by level,
    until they fit.

    Args:
        stretch: Characters of text behind one gist, about.
        words: Most words of a gist, as told to the language model.
        folder: Where gists are kept; see `default_folder`.
        llm, context_window, reply_tokens, spans, questions, language, prompts, together: See `PromptMemoryModel`.
    """

    kind = "gist"

    stretch: int = 6000
    words: int = 150
    folder: str | Path = field(default_factory=default_folder)  # held as a str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "folder", str(self.folder))
        check_counts(self, "stretch", "words")
        if self.stretch < 200:
            raise InputError(f"stretch must be at least 200 characters, found {self.stretch}.")

    @property
    def fingerprint(self) -> str:
        own = [template for prompts in [self.prompts] if prompts for template in (prompts.gist, prompts.digest)]
        shape = (self.stretch, self.words, self.language, self.context_window, self.reply_tokens)
        return f"gist-1 {self.llm.name} {text_hash(self.llm.name, *map(str, shape), *own)[:16]}"

    @property
    def capacity(self) -> int | None:
        """None: each document is a shard by itself, so a change of one document leaves the gists of others as they are."""
        return None

    def groups(self, memories: Sequence[Memory], most: int) -> list[list[int]]:
        """Memories whose gists fit one prompt, each in the first group that has room for it. See `JoiningModel`."""
        groups: list[list[int]] = []
        left: list[int] = []
        between = self.count(_JOIN)
        for number, memory in enumerate(memories):
            assert isinstance(memory, FormedGistMemory)
            tokens = memory.read_tokens + between
            group = next((i for i, room in enumerate(left) if tokens <= room), None)
            if group is not None:
                groups[group].append(number)
                left[group] -= tokens
            elif len(groups) < most:
                groups.append([number])
                left.append(self.room + between - tokens)
        return groups

    def joined(self, memories: Sequence[Memory]) -> JoinedGists:
        members = tuple(memory for memory in memories if isinstance(memory, FormedGistMemory))
        return JoinedGists.over(self, members)

    def read(self, shard: Shard, text: str, progress: Progress, cancel: threading.Event | None) -> FormedGistMemory:
        """Ask for the gist of every stretch that `folder` does not hold yet.

        Raises:
            InputError: For an unknown window.
            LLMError: What the provider said; the gists that had come are kept.
            MemoryModelError: Where `folder` cannot be written to.
            Cancelled: When `cancel` was set; likewise.
        """
        language = detect(text) if self.language == "auto" else self.language
        prompts = self.prompts or prompts_for(language)
        spoken = reply_sentence(prompts, language)
        folder = Path(self.folder)
        cache = GistCache(self, folder, self.words, prompts.gist, spoken, progress, cancel)
        ranges = self._ranges(shard, text)
        texts, lost = cache.gists([text[start:end] for start, end in ranges], "reading stretches")
        levels = [tuple(Gist(*place, gist) for place, gist in zip(ranges, texts, strict=True))]
        cache = GistCache(self, folder, self.words, prompts.digest, spoken, progress, cancel)
        while len(levels) < _ROUNDS and (factor := self.count(_joined(levels[-1])) / self.room) > 1:
            groups = _groups(levels[-1], factor, self.count, self.room)
            texts, more = cache.gists([_joined(group) for group in groups], "joining gists")
            lost += more
            level = tuple(Gist(group[0].start, group[-1].end, gist) for group, gist in zip(groups, texts, strict=True))
            if self.count(_joined(level)) >= self.count(_joined(levels[-1])):
                break
            levels.append(level)
        return FormedGistMemory.over(self, shard, tuple(levels), lost)

    def _ranges(self, shard: Shard, text: str) -> list[Range]:
        """Stretches, none across two documents."""
        ranges, offset = [], 0
        for document in shard.documents:
            end = offset + len(document.text)
            for a, b in content_chunks(text[offset:end], self.stretch):
                parts = fit_to_tokens(text[offset + a : offset + b], self.count, self.room)
                ranges += [(offset + a + start, offset + a + stop) for start, stop in parts]
            offset = end + len(Shard.SEPARATOR)
        return ranges

    def load(self, path: Path, shard: Shard) -> FormedGistMemory:
        stored = read_memory(path, self.fingerprint, shard)
        try:
            levels = tuple(tuple(Gist(int(a), int(b), str(text)) for a, b, text in level) for level in stored["levels"])
            lost = int(stored["lost"])
            if not levels or not all(levels) or any(not 0 <= g.start < g.end <= len(shard.text) for g in levels[0]):
                raise ValueError("gists outside the text")
        except UNREADABLE as error:
            raise broken(path, error) from error
        return FormedGistMemory.over(self, shard, levels, lost)


@dataclass(frozen=True, kw_only=True)
class FormedGistMemory(PromptMemory):
    """One shard's gists.

    Args:
        levels: Gists of stretches first, then gists of those, up to the level that is asked.
        lost: Stretches for which the language model gave no gist; their beginnings stand for them.
    """

    levels: tuple[Level, ...]
    lost: int

    @classmethod
    def over(cls, model: GistMemory, shard: Shard, levels: tuple[Level, ...], lost: int) -> FormedGistMemory:
        parts = fit_to_tokens(_joined(levels[-1]), model.count, model.room)
        tokens = model.count(clean_text(shard.text))
        return cls(model=model, shard=shard, token_count=tokens, parts=tuple(parts), levels=levels, lost=lost)

    @property
    def read_text(self) -> str:
        return self._top.text

    @cached_property
    def read_tokens(self) -> int:
        return self.model.count(self.read_text)

    @property
    def nbytes(self) -> int:
        """Bytes of the gists, and of the indices that place clues once they were needed."""
        return super().nbytes + sum(len(gist.text.encode()) + 64 for level in self.levels for gist in level)

    @property
    def warnings(self) -> Sequence[str]:
        if not self.lost:
            return ()
        return [
            f"The language model gave no gist for {self.lost} of {len(self.levels[0])} stretches; their beginnings "
            f"stand for them. Memorize again to ask for the missing ones."
        ]

    def place(self, clue: str, part: Range) -> tuple[int, int, float] | None:
        """Where the clue stands in the stretch that its gist stands for; the whole stretch, at half the score, where
        the wording is the gist's own."""
        top = self._top.find(clue, part)
        if top is None:
            return None
        gist, likeness = top
        if within := self.grounder.ground(clue, (gist.start, gist.end)):
            return within
        if len(self.levels) > 1:
            below = self._bottom
            first = bisect_right([g.start for g in below.level], gist.start) - 1
            last = bisect_right([g.start for g in below.level], gist.end - 1)
            if finer := below.find(
                clue, (below.starts[first], below.starts[last - 1] + len(below.level[last - 1].text))
            ):
                gist, likeness = finer
        return gist.start, gist.end, likeness / 2

    def save(self, path: Path) -> None:
        write_memory(path, self.model.fingerprint, self.shard.content_hash, {"levels": self.levels, "lost": self.lost})

    @cached_property
    def _top(self) -> _Joined:
        return _Joined(self.levels[-1])

    @cached_property
    def _bottom(self) -> _Joined:
        return _Joined(self.levels[0])


@dataclass(frozen=True, kw_only=True)
class JoinedGists(PromptMemory):
    """The gists of several shards, read in one prompt.

    Args:
        members: Their memories, by which clues are placed.
    """

    members: tuple[FormedGistMemory, ...]

    @classmethod
    def over(cls, model: GistMemory, members: tuple[FormedGistMemory, ...]) -> JoinedGists:
        shard = Shard(tuple(document for member in members for document in member.shard.documents))
        tokens = sum(member.token_count for member in members)
        length = sum(len(member.read_text) + len(_JOIN) for member in members) - len(_JOIN)
        return cls(model=model, shard=shard, token_count=tokens, parts=((0, length),), members=members)

    @property
    def text(self) -> str:
        return Shard.SEPARATOR.join(member.text for member in self.members)

    @property
    def read_text(self) -> str:
        return self._joined.text

    @property
    def warnings(self) -> Sequence[str]:
        return [warning for member in self.members for warning in member.warnings]

    def place(self, clue: str, part: Range) -> tuple[int, int, float] | None:
        """Where the member that the clue comes from places it, in the text of all."""
        top = self._joined.find(clue, part)
        if top is None:
            return None
        number = top[0].start
        member = self.members[number]
        within = member.place(clue, (0, len(member.read_text)))
        if within is None:
            return None
        offset = sum(len(before.text) + len(Shard.SEPARATOR) for before in self.members[:number])
        start, end, likeness = within
        return offset + start, offset + end, likeness

    def save(self, path: Path) -> None:
        raise MemoryModelError("Joined gists are for one recall; their members are saved.")

    @cached_property
    def _joined(self) -> _Joined:
        """The members' gists, each with its member's number for a place."""
        return _Joined(tuple(Gist(i, i + 1, member.read_text) for i, member in enumerate(self.members)))


class _Joined:
    """The gists of a level as one text, and which gist each place of it belongs to."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.text = _joined(level)
        self.starts = [0]
        for gist in level[:-1]:
            self.starts.append(self.starts[-1] + len(gist.text) + len(_JOIN))

    @cached_property
    def _grounder(self) -> Grounder:
        return Grounder(self.text)

    def find(self, clue: str, part: Range) -> tuple[Gist, float] | None:
        """The gist of this part that a clue comes from, and how well the clue matches it, in [0, 1]."""
        place = self._grounder.ground(clue, part)
        if place is None:
            return None
        return self.level[bisect_right(self.starts, (place.start + place.end) // 2) - 1], place.score


def _joined(level: Sequence[Gist]) -> str:
    return _JOIN.join(gist.text for gist in level)


def _groups(level: Level, factor: float, count: Callable[[str], int], room: int) -> list[Sequence[Gist]]:
    """Neighbours to be joined: about as many as it takes to fit, and no more than one prompt holds."""
    most = max(2, ceil(1.5 * factor))
    groups: list[list[Gist]] = [[]]
    for gist in level:
        if groups[-1] and (len(groups[-1]) >= most or count(_joined([*groups[-1], gist])) > room):
            groups.append([])
        groups[-1].append(gist)
    return list(groups)
