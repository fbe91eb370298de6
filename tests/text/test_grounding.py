"""Grounding: word for word, changed, foreign and hostile clues, in any script."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memorag_integrations.text import grounding, word_index
from memorag_integrations.text.grounding import LEAST, Grounder, Place
from memorag_integrations.text.word_index import Occurrences, WordIndex, word_ranges, words

TEXTS = {
    "en": "Ann opened the meeting. The committee approved the budget for the remote control. Bob left early.",
    "zh": "会议由王丽主持。委员会在三月批准了遥控器的预算，共计十五万元。李雷提前离开了会场。",
    "ja": "アンが会議を始めた。委員会は三月にリモコンの予算を承認した。ボブは早く帰った。",
    "th": "แอนเปิดการประชุม คณะกรรมการอนุมัติงบประมาณสำหรับรีโมทคอนโทรลในเดือนมีนาคม บ็อบกลับก่อน",
    "hi": "ऐन ने बैठक शुरू की। समिति ने मार्च में रिमोट के लिए बजट को मंज़ूरी दी। बॉब जल्दी चला गया।",
    "ar": "افتتحت آن الاجتماع. وافقت اللجنة على ميزانية جهاز التحكم في آذار. غادر بوب مبكرا.",
    "ko": "앤이 회의를 열었다. 위원회는 3월에 리모컨 예산을 승인했다. 밥은 일찍 떠났다.",
}
CHANGED = {
    "en": ("THE COMMITTEE approved a budget -- for the remote control!", "approved the budget"),
    "zh": ("委员会三月份批准遥控器预算（十五万元）", "批准了遥控器的预算"),
    "ja": ("委員会が三月にリモコンの予算を承認", "リモコンの予算を承認した"),
    "th": ("คณะกรรมการอนุมัติงบประมาณ รีโมทคอนโทรล", "งบประมาณสำหรับรีโมท"),
    "hi": ("समिति ने मार्च में बजट को मंज़ूरी दी", "रिमोट के लिए बजट"),
    "ar": ("وافقت اللجنة على الميزانية: جهاز التحكم", "اللجنة على ميزانية جهاز"),
    "ko": ("위원회가 3월에 리모컨 예산을 승인", "리모컨 예산을 승인했다"),
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_changed_clue_finds_its_place(language: str) -> None:
    text, (changed, inside) = TEXTS[language], CHANGED[language]
    exact = Grounder(text).ground(inside)
    assert exact
    assert (text[exact.start : exact.end], exact.score) == (inside, 1.0)
    place = Grounder(text).ground(changed)
    assert place
    assert LEAST < place.score < 1
    assert place.start < exact.end
    assert exact.start < place.end


def test_same_words_with_other_marks_are_word_for_word() -> None:
    text = "x. “The Committee\n  approved – the budget”, she said."
    place = Grounder(text).ground("the committee approved the budget")
    assert place
    assert text[place.start : place.end] == "The Committee\n  approved – the budget"
    assert place.score == 1.0


def test_offsets_hold_where_folding_changes_the_length() -> None:
    text = "ﬁrst the Straße, then e\u0301te\u0301, then the BUDGET was cut"
    place = Grounder(text).ground("strasse then été")
    assert place
    assert text[place.start : place.end] == "Straße, then e\u0301te\u0301"


@pytest.mark.parametrize("clue", ["", "  ", "?!…", "zebra quantum", "\ud800", "\x00"])
def test_a_clue_without_a_place(clue: str) -> None:
    assert Grounder(TEXTS["en"]).ground(clue) is None
    assert Grounder("").ground(clue) is None


def test_within() -> None:
    text = "the budget was cut. " * 3
    place = Grounder(text).ground("Budget was cut", within=(20, 40))
    assert place
    assert (place.start, place.end) == (24, 38)
    assert Grounder(text).ground("budget", within=(40, 40)) is None


def test_half_a_megabyte_and_a_huge_clue() -> None:
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
    text = " ".join(rng.choices(vocabulary, k=90_000))
    grounder = Grounder(text)
    start = text.index(" ", 300_000) + 1
    huge = grounder.ground(text[start : start + 100_000])
    assert huge
    assert (huge.start, huge.score) == (start, pytest.approx(1, abs=0.01))
    middle = text[250_000:250_200].split()[1:-1]
    place = grounder.ground(" ".join(word for i, word in enumerate(middle) if i % 4).upper())
    assert place
    assert 249_900 < place.start < place.end < 250_300


@given(st.text(max_size=300), st.text(max_size=80))
@settings(max_examples=200)
def test_any_text_and_clue(text: str, clue: str) -> None:
    place = Grounder(text).ground(clue)
    if place:
        assert 0 <= place.start < place.end <= len(text)
        assert LEAST <= place.score <= 1
        assert (place.score < 1) or words(text[place.start : place.end]).forms == words(clue.strip()).forms


@given(
    st.lists(st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8), min_size=3, max_size=40), st.data()
)
@settings(max_examples=200)
def test_a_run_of_words_is_found_word_for_word(parts: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(parts) - 1))
    last = data.draw(st.integers(first + 1, len(parts)))
    text, clue = " ".join(parts), " ".join(parts[first:last])
    place = Grounder(text).ground(clue)
    assert place
    assert place.score == 1
    assert text[place.start : place.end] == clue
    assert Grounder(text).ground(clue, within=(place.start, place.end)) == place


HOSTILE = {
    "one word": lambda n: "a " * n,
    "one letter": lambda n: "a" * (5 * n),
    "one Chinese character": lambda n: "的" * n,
    "period of three": lambda n: "a b c " * (n // 3),
    "Chinese period": lambda n: "的是在" * (n // 3),
    "two words": lambda n: " ".join(random.Random(0).choices("ab", k=n)),
    "ten digits": lambda n: " ".join(random.Random(0).choices("0123456789", k=n)),
    "one long line": lambda n: "".join(random.Random(0).choices("abcdef", k=5 * n)),
    "Chinese without an end": lambda n: "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x5800), k=n))),
    "every word another": lambda n: " ".join(map(str, range(n))),
    "one line of a log": lambda n: "INFO 2024 request ok\n" * (n // 4),
    "blanks": lambda n: " " * (5 * n) + "at last a word",
    "marks": lambda n: "e" + "\u0301" * (5 * n) + " at last a word",
    "long words": lambda n: " ".join("x" * 60 + str(i) for i in range(n // 10)),
}  # fmt: skip


class Work:
    """What one clue costs: calls that align, and the characters that they multiply."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compared = self.aligned = self.occurrences = 0
        similarity, alignment = grounding.Indel.normalized_similarity, grounding.partial_ratio_alignment
        occurrences = WordIndex.occurrences

        def compare(one: str, other: str) -> float:
            self.compared += len(one) * len(other)
            return similarity(one, other)

        def align(one: str, other: str) -> object:
            self.aligned += len(one) ** 2 * len(other)
            return alignment(one, other)

        def vote(index: WordIndex, *args: Any) -> Occurrences:
            found = occurrences(index, *args)
            self.occurrences += len(found.units)
            return found

        monkeypatch.setattr(grounding, "Indel", SimpleNamespace(normalized_similarity=compare))
        monkeypatch.setattr(grounding, "partial_ratio_alignment", align)
        monkeypatch.setattr(WordIndex, "occurrences", vote)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_work_for_a_clue_has_a_bound_whatever_its_length_and_the_text(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    for words_of_text in (3_000, 30_000):
        text = HOSTILE[name](words_of_text)
        grounder = Grounder(text)
        for length in (30, 300, 3_000, 100_000):
            start = rng.randrange(max(1, len(text) - length))
            clue = text[start : start + length]
            changed = "".join(character for character in clue if rng.random() > 0.2)
            for asked in (clue, changed, clue[::-1], clue + " and something else"):
                work = Work(monkeypatch)
                place = grounder.ground(asked)
                assert place is None or 0 <= place.start < place.end <= len(text)
                assert work.occurrences <= grounding.OCCURRENCES
                assert work.aligned <= grounding.WINDOWS * grounding.SHORT
                assert work.compared <= grounding.COMPARED
                monkeypatch.undo()


def test_the_whole_text_as_a_clue() -> None:
    for text in (TEXTS["en"], TEXTS["zh"], "word " * 50_000, "的" * 50_000):
        place = Grounder(text).ground(text)
        assert place
        assert (place.start, place.score) == (0, 1.0)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_part_of_a_hostile_text_is_found_word_for_word(name: str) -> None:
    text = HOSTILE[name](30_000)
    ranges = list(word_ranges(text))
    first = len(ranges) // 3
    begin, end = ranges[first][0], ranges[min(first + 40, len(ranges) - 1)][1]
    place = Grounder(text).ground(text[begin:end])
    assert place
    assert place.score == 1.0
    assert words(text[place.start : place.end]).forms == words(text[begin:end]).forms


@pytest.mark.parametrize("name", HOSTILE)
def test_no_match_of_the_word_pattern_is_long(name: str) -> None:
    text = HOSTILE[name](30_000)
    assert max(match.end() - match.start() for match in word_index._word_pattern().finditer(text)) <= 6_000
    assert WordIndex(text).nbytes <= 40 * len(text) + 10_000


def test_a_changed_long_clue_is_found_where_it_stands() -> None:
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(3000)]
    text = " ".join(rng.choices(vocabulary, k=60_000))
    for length in (500, 1_000, 3_000):
        start = text.index(" ", 100_000) + 1
        clue = " ".join(word for word in text[start : start + length].split() if rng.random() > 0.25)
        place = Grounder(text).ground(clue)
        assert place
        assert place.score > 0.6
        assert min(place.end, start + length) - max(place.start, start) > 0.8 * length


def test_threads_that_ask_at_once_build_one_index(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    original = WordIndex.__init__

    def build(self: WordIndex, text: str) -> None:
        built.append(text)
        original(self, text)

    monkeypatch.setattr(WordIndex, "__init__", build)
    grounder = Grounder(TEXTS["en"] * 500)
    assert grounder.nbytes == 0
    assert not built
    barrier = threading.Barrier(8)

    def ask(_: int) -> Place | None:
        barrier.wait()
        return grounder.ground("approved the budget")

    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(ask, range(8)))
    assert len(built) == 1
    assert len(set(places)) == 1
    assert grounder.nbytes > 0
