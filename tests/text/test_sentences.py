from itertools import pairwise
from unicodedata import east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.text.sentences import LEAST_COLUMNS, MOST_CHARACTERS, pieces, sentences, width


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The boat was sold by the board. Nobody told the keeper of it.", 2),
        ("供应船已经被港务局卖掉，用来修建新的码头了。没有人把这件事告诉灯塔的看守人，他一直等到冬天。", 2),
        ("船は港湾局によって新しい埠頭のために売られてしまった。誰も灯台守にそのことを知らせなかった。", 2),
        ("नाव बोर्ड ने बेच दी थी और किसी को पता न था। किसी ने रखवाले को यह नहीं बताया।", 2),
        ("بيع القارب من قبل مجلس الميناء فمن أخبر الحارس؟ لم يخبره أحد بذلك حتى الشتاء.", 2),
        ("No. Nobody told the keeper.", 1),
        ("Nobody told the keeper of it. Never.", 1),
        ("one line without an end", 1),
        ("   ", 0),
    ],
)
def test_sentences_are_pieces_and_short_ones_stay_with_their_neighbour(text, expected):
    assert len(pieces(text)) == expected


@given(st.text(alphabet=st.sampled_from("ab. !?。\n\t水"), max_size=200))
def test_pieces_hold_the_whole_text_and_none_is_too_short_but_an_only_one(text):
    found = pieces(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert len(found) < 2 or all(width(piece) >= LEAST_COLUMNS for piece in found)
    ranges = sentences(text)
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))


@pytest.mark.parametrize("unit", ["1. ", "a. ", "? ! ", "。", "ok.\n", "1.\n\n", "水。", "... ", "\t.", "a\n\nb. "])
def test_joining_short_sentences_reads_each_character_a_few_times(unit, monkeypatch):
    read = 0

    def counted(character):
        nonlocal read
        read += 1
        return east_asian_width(character)

    monkeypatch.setattr("memorag_integrations.text.sentences.east_asian_width", counted)
    for length in (5_000, 10_000, 20_000):
        read = 0
        found = pieces(unit * (length // len(unit)))
        assert found
        assert read <= LEAST_COLUMNS * length


@pytest.mark.parametrize("unit", ["a", "a ", "水", "1.5", "a\n", "\n", " ", "!", "x\n \r"])
def test_no_sentence_is_longer_than_its_bound(unit):
    assert all(end - start <= MOST_CHARACTERS for start, end in sentences(unit * 20_000))
