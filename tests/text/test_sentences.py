from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations.text.sentences import LEAST_COLUMNS, pieces, sentences, width


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
