import pytest

from memorag_integrations import MemoRAG
from memorag_integrations.text.quotes import holds, phrases


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ('who said "as it stands"?', ["as it stands"]),
        ("who said “as it stands”?", ["as it stands"]),
        ("wer sagte „wie es steht“?", ["wie es steht"]),
        ("qui a dit « tel quel » ?", ["tel quel"]),
        ("wer sagte »wie es steht«?", ["wie es steht"]),
        ("誰が「灯台守」と言った", ["灯台守"]),
        ("谁说『灯塔』", ["灯塔"]),
        ('"one" and "two" and "one"', ["one", "two"]),
        ('a 5" disk and a 6" disk', []),
        ('"" and "?!"', []),
        ('an open "quote', []),
        ("no quotes, it's 'single'", []),
    ],
)
def test_what_stands_in_quotation_marks_is_a_phrase(query, wanted):
    assert phrases(query) == wanted


@pytest.mark.parametrize(
    ("text", "phrase", "held"),
    [
        ("The green lamp burns.", "Green  Lamp", True),
        ("The green, lamp-lit room.", "green lamp", True),
        ("The lamp is green.", "green lamp", False),
        ("An evergreen lamp.", "green lamp", False),
        ("C++ is old.", "C++", True),
        ("C is old.", "C++", False),
        ("看守人点亮灯塔", "点亮", True),
        ("Une ação", "acao", True),
        ("soft\u00adware update", "software update", True),
    ],
)
def test_a_text_holds_a_phrase_word_for_word(text, phrase, held):
    assert holds(text, phrase) is held


FILLING = [f"Lamp number {n} is green, and the keeper said that a lamp burns so." for n in range(30)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ('what about the "green lamp"', "Of the green lamp nothing is known."),
        ('the keeper said that a lamp burns: "to be or not to be"', "They say to be or not to be is all."),
        ('"AX-4410" lamp', "It has an AX-4410-B inside."),
        ('"keeper said nothing" of the lamp', "And the keeper said nothing."),
        ("「灯台守」 lamp", "あの灯台守はいない。"),
        ('"대한민국" lamp', "대한민국의 수도."),
        ('"3.35" lamp number', "It costs 3.35 there."),
    ],
)
def test_what_the_query_quotes_comes_first(query, text):
    memo = MemoRAG()
    memo.memorize([*FILLING, text], progress=False)
    [signals] = memo.corpus.index.signals([query], None)
    assert signals.candidates.passages[int(signals.bm25.argmax())].text == text
    assert memo.retrieve(query, 1, mode="bm25")[0].text == text


def test_a_phrase_that_stands_nowhere_changes_nothing():
    memo = MemoRAG()
    memo.memorize(FILLING, progress=False)
    quoted, plain = (
        memo.corpus.index.signals([query], None)[0].bm25 for query in ('"lamp green" number 7', "lamp green number 7")
    )
    assert quoted.tolist() == plain.tolist()
