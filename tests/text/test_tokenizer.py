import copy
import functools
import logging
import pickle
import threading

import pytest

from memorag_integrations import MemoRAG
from memorag_integrations.errors import InputError, MemoRAGError, StoreError, TokenizerError
from memorag_integrations.store.maintenance import repair, verify
from memorag_integrations.text.tokenizer import Tokenizer

TEXTS = ["The keeper lit the lamp.", "看守人点亮灯塔", "Ships-of-the-line sail."]


def by_blanks(text):
    return text.split(" ")


def by_characters(text):
    return list(text)


def test_a_tokenizer_takes_the_place_of_our_terms():
    memo = MemoRAG(tokenizer=by_characters)
    memo.memorize(TEXTS, progress=False)
    assert memo.retrieve("灯", 1)[0].text == TEXTS[1]
    memo = MemoRAG(tokenizer=by_blanks)
    memo.memorize(TEXTS, progress=False)
    [signals] = memo.corpus.index.signals(["灯塔 keepers SHIPS-OF-THE-LINE"], None)
    assert (signals.bm25 > 0).tolist() == [False, False, True], "words as they are, in lower case"


def test_a_store_keeps_the_name_of_its_tokenizer(tmp_path):
    memo = MemoRAG(tokenizer=by_blanks)
    memo.memorize(TEXTS, progress=False, save_dir=tmp_path)
    again = MemoRAG.load(tmp_path, tokenizer=by_blanks)
    assert again.retrieve("ships-of-the-line", 1)[0].text == TEXTS[2]
    again.add("Another lamp-house.", progress=False)
    again.save(tmp_path)
    with MemoRAG.open(tmp_path, tokenizer=by_blanks) as live:
        assert live.retrieve("lamp-house.", 1)[0].text == "Another lamp-house."
    assert verify(tmp_path) == []


@pytest.mark.parametrize(
    ("made", "opened", "said"),
    [
        (by_blanks, None, "by_blanks.*none was passed.*Pass the same"),
        (by_blanks, by_characters, "by_blanks.*by_characters.*Pass the same"),
        (None, by_blanks, "own analysis.*by_blanks.*Leave tokenizer out"),
    ],
)
def test_a_store_is_refused_with_another_tokenizer(tmp_path, made, opened, said):
    MemoRAG(tokenizer=made).memorize(TEXTS, progress=False, save_dir=tmp_path)
    for door in (MemoRAG.load, MemoRAG.open):
        with pytest.raises(StoreError, match=said):
            door(tmp_path, tokenizer=opened)
    with pytest.raises(StoreError, match=said):
        repair(tmp_path, tokenizer=opened, progress=False)
    assert MemoRAG.load(tmp_path, tokenizer=made).retrieve("lamp.", 1)
    repair(tmp_path, tokenizer=made, progress=False)
    assert MemoRAG.load(tmp_path, tokenizer=made).retrieve("lamp.", 1)


def test_a_tokenizer_travels_with_copies(tmp_path):
    memo = MemoRAG(tokenizer=by_blanks)
    assert pickle.loads(pickle.dumps(memo)).live.tokenizer == memo.live.tokenizer
    memo.memorize(TEXTS, progress=False)
    for twin in (copy.deepcopy(memo), pickle.loads(pickle.dumps(memo))):
        assert twin.retrieve("ships-of-the-line", 1)[0].text == TEXTS[2]
    lock = threading.Lock()
    with pytest.raises(InputError, match="tokenizer"):
        pickle.dumps(MemoRAG(tokenizer=Tokenizer("local", lambda text: [text, lock])))


def fails(text):
    raise OSError("no dictionary")


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (fails, "failed.*OSError: no dictionary"),
        (lambda text: None, "list of words, found NoneType"),
        (lambda text: text, "list of words, found str"),
        (lambda text: iter(text), "list of words, found str_"),
        (lambda text: [text, 5], "found int among"),
        (lambda text: [None], "found NoneType among"),
        (lambda text: [b"lamp"], "found bytes among"),
    ],
)
def test_a_tokenizer_that_fails_is_named_and_nothing_is_changed(tmp_path, split, said):
    memo = MemoRAG(tokenizer=Tokenizer("strange", lambda text: by_blanks(text) if "lamp" in text else split(text)))
    memo.memorize(["A lamp."], progress=False, save_dir=tmp_path)
    with pytest.raises(TokenizerError, match=f"'strange'.*{said}"):
        memo.add("Ships.", progress=False)
    with pytest.raises(MemoRAGError, match="strange"):
        memo.retrieve("ships")
    assert [piece.text for piece in memo.retrieve("lamp")] == ["A lamp."]
    assert verify(tmp_path) == []


@pytest.mark.parametrize("words", [[""], [" ", "\n"], ["a b", "c\nd"], ["\ud800"], ["x" * 1000], []])
def test_strange_words_are_kept_whole_through_a_store(tmp_path, words):
    tokenizer = Tokenizer("strange", lambda text: words)
    memo = MemoRAG(tokenizer=tokenizer)
    memo.memorize(["A lamp.", "A ship."], progress=False, save_dir=tmp_path)
    rows = [row.tolist() for row in MemoRAG.load(tmp_path, tokenizer=tokenizer).corpus.index.terms.rows]
    assert [len(row) for row in rows] == [len(row) for row in memo.corpus.index.terms.rows]


def test_a_tokenizer_needs_a_name():
    assert Tokenizer.of(None) is None
    assert Tokenizer.of(by_blanks).name.endswith("test_tokenizer.by_blanks")
    for nameless in (lambda text: [text], functools.partial(by_blanks)):
        with pytest.raises(InputError, match="Give it one"):
            MemoRAG(tokenizer=nameless)
    for name in ("", "  ", "a\nb", None):
        with pytest.raises(InputError, match="needs a name"):
            Tokenizer(name, by_blanks)
    with pytest.raises(InputError, match="found str"):
        MemoRAG(tokenizer="jieba")
    with pytest.raises(InputError, match="found int"):
        Tokenizer("five", 5)


def test_terms_of_an_earlier_version_are_made_again_with_one_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("memorag_integrations.index.bm25.ANALYSIS", "terms 0, of old")
    monkeypatch.setattr("memorag_integrations.index.bm25.terms", lambda text, language, tokenizer: ["lamp"])
    MemoRAG().memorize(TEXTS, progress=False, save_dir=tmp_path)
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        memo = MemoRAG.load(tmp_path)
    assert ["made by another version" in record.message for record in caplog.records] == [True]
    assert memo.retrieve("ships", 1)[0].text == TEXTS[2]
    repair(tmp_path, progress=False)
    caplog.clear()
    assert MemoRAG.load(tmp_path).retrieve("ships", 1)[0].text == TEXTS[2]
    assert not caplog.records
    assert verify(tmp_path) == []
