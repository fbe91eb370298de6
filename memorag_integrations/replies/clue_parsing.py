"""Clues out of whatever a language model wrote: one pure module for every memory.

A reply may be JSON (whole, half, or with comments around it), a list with bullets or numbers of any script, or bare
lines; before and between may stand thoughts, code fences, headings and polite phrases. No rule here counts blanks: a
Chinese, Japanese or Thai clue has none, and "Who opened it?" has two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..clues import ClueKind
from ..documents import clean_text
from .lenient_json import JsonString, find_json, read_json
from .list_markers import strong_marker
from .lists import is_preamble, kind_of, list_pairs
from .single_clue import clean, comparison_key, is_refusal, says_something
from .wrapping import strip_fences, strip_thoughts

MOST = 40
"""Clues taken of one kind, unless told otherwise."""
LONGEST = 2000
"""Characters after which a clue is cut, unless told otherwise."""
LONGEST_REPLY = 200_000
"""Characters of a reply that are read, thoughts apart."""

_TEXT_KEYS = frozenset(
    ("clue", "text", "span", "quote", "question", "query", "content", "value", "answer", "sentence", "线索")
)


@dataclass(frozen=True)
class Reply:
    """What a reply says, by kind, each text once and in the order written.

    Args:
        spans: Texts that the model took for telling.
        questions: Surrogate questions.
        answer: The draft answer, or None.
        asked_form: Whether the reply was JSON, the form that our prompts ask for.
        warnings: What was wrong with the reply, in sentences for people.
    """

    spans: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    answer: str | None = None
    asked_form: bool = False
    warnings: tuple[str, ...] = ()


def parse_reply(text: str, *, most: int = MOST, longest: int = LONGEST) -> Reply:
    """The spans, questions and draft answer in a model's reply, in time linear in its length.

    Args:
        text: The reply as it came.
        most: Most clues kept of each kind.
        longest: Most characters kept of each.
    """
    pairs, asked_form, warnings = _read(text)
    clues: dict[ClueKind, dict[str, str]] = {"span": {}, "question": {}, "answer": {}}
    cut = left_out = 0
    for kind, raw in pairs:
        clue = clean(raw[: 2 * longest + 100])
        if not says_something(clue):
            continue
        if len(clues[kind]) >= most:
            left_out += 1
            continue
        cut += len(clue) > longest or len(raw) > 2 * longest + 100
        clues[kind].setdefault(comparison_key(clue), clue[:longest].rstrip())
    if cut:
        warnings.append(f"{cut} clues were longer than {longest} characters and were cut there.")
    if left_out:
        warnings.append(f"The reply held more than {most} clues of a kind; {left_out} were left out.")
    spans, questions, answers = (tuple(clues[kind].values()) for kind in ("span", "question", "answer"))
    return Reply(spans, questions, " ".join(answers)[:longest] or None, asked_form, tuple(warnings))


def parse_list(text: str, *, most: int = MOST, longest: int = LONGEST) -> list[str]:
    """All items of a reply that holds one list of clues, whatever its form; see `parse_reply`."""
    clues: dict[str, str] = {}
    for _, raw in _read(text)[0]:
        clue = clean(raw[: 2 * longest + 100])
        if says_something(clue):
            clues.setdefault(comparison_key(clue), clue[:longest].rstrip())
        if len(clues) == most:
            break
    return list(clues.values())


def _read(text: str) -> tuple[Iterable[tuple[ClueKind, str]], bool, list[str]]:
    """Raw items with their kinds, whether they came as JSON, and warnings."""
    text, unfinished = strip_thoughts(clean_text(text))
    warnings = ["The model's thoughts filled the reply: give it more reply tokens."] if unfinished else []
    if len(text) > LONGEST_REPLY:
        warnings.append(f"The reply had {len(text)} characters; the first {LONGEST_REPLY} were read.")
    text = strip_fences(_bounded(text))
    start = find_json(text)
    if start is None or any(strong_marker(line) for line in text[:start].splitlines()):
        return list_pairs(text), False, warnings
    values, whole = read_json(text, start)
    if not whole:
        warnings.append("The reply broke off inside its JSON; what was complete was used.")
    return _json_pairs(values), True, warnings


def _bounded(text: str) -> str:
    """The first `LONGEST_REPLY` characters of `text`, up to the end of a line."""
    if len(text) <= LONGEST_REPLY:
        return text
    head = text[:LONGEST_REPLY]
    return head[: head.rfind("\n") + 1] or head


def parse_text(text: str) -> str:
    """A reply that is one running text, such as a gist, without thoughts, fences and wrapping marks; "" for a refusal."""
    text = clean(strip_fences(_bounded(strip_thoughts(clean_text(text))[0])))
    head, colon, rest = text.partition("\n")
    if colon and head.rstrip().endswith((":", "：")) and is_preamble(head):
        text = rest.strip()
    return "" if is_refusal(text) or not says_something(text) else text


def _json_pairs(values: list[JsonString]) -> Iterator[tuple[ClueKind, str]]:
    """Of an object that stands in a list, {"clue": …, "reason": …}, only the member that is the clue."""
    chosen: dict[int, str] = {}
    for value in values:
        if value.key in _TEXT_KEYS and value.depth > 1:
            chosen.setdefault(value.owner, value.key)
    for value in values:
        if chosen.get(value.owner, value.key) == value.key:
            kind = kind_of(value.section)
            yield kind_of(value.key) if kind == "span" else kind, value.text
