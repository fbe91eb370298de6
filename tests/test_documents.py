import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import Document
from memorag_integrations.corpus.splitter import LONGEST_LINE, Splitter, _short_lines
from memorag_integrations.documents import Shard, clean_text, read_documents, text_hash
from memorag_integrations.errors import InputError

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
"""Any code points, lone surrogates and NUL among them."""
TEXTS = st.lists(
    st.one_of(ANY, st.sampled_from(["\n\n", "\n", " ", "A word. ", "漢字", "e\u0301", "\r\n", "\u2028", "x" * 70]))
).map("".join)


class Recording:
    """The real splitter, and what it was given."""

    def __init__(self, splitter):
        self.splitter, self.pieces = splitter, []

    def chunk_indices(self, text):
        self.pieces.append(text)
        return self.splitter.chunk_indices(text)


def assert_exact(text, passages, size):
    end = 0
    for passage in passages:
        assert text[passage.start : passage.end] == passage.text
        assert 0 < len(passage.text) <= size
        assert passage.text.strip() == passage.text
        assert not text[end : passage.start].strip(), "characters between two passages are blank"
        assert passage.centre == (passage.start + passage.end) / 2
        end = passage.end
    assert not text[end:].strip()


@given(TEXTS)
def test_passages_are_exact_slices_that_hold_every_character_that_is_not_blank(text):
    for document in read_documents(text):
        assert len(document.text) == len(text)
        assert_exact(document.text, Splitter(50).split(document), 50)


def test_passages_carry_their_document_and_unique_ids(documents):
    passages = [passage for document in documents for passage in Splitter(100).split(document)]
    assert len({passage.id for passage in passages}) == len(passages) > 6
    assert {passage.document_id for passage in passages} == {"lighthouse", "bakery", "river"}
    assert passages[0].metadata == documents[0].metadata


def test_passages_end_at_the_highest_boundary_that_fits():
    text = "One sentence here. Another follows it.\n\nA paragraph that stands alone, with some words."
    assert [passage.text for passage in Splitter(60).split(Document(text))] == text.split("\n\n")


@pytest.mark.parametrize("size", [49, 0, -1, True, 100.0, "1000", None])
def test_a_passage_size_that_cannot_be_is_refused(size):
    with pytest.raises(InputError, match="passage_size must be a whole number of characters from 50 to"):
        Splitter(size)


@pytest.mark.parametrize("unit", ["x", "雨が降り出したので、窓際の席に移った。", "word ", "e\u0301", "\ufffd"])
def test_a_long_line_reaches_the_splitter_in_pieces_that_it_can_handle(unit):
    text = unit * (3_000_000 // len(unit))
    splitter = Splitter(1000)
    splitter._splitter = recording = Recording(splitter._splitter)
    passages = splitter.split(Document(text, "long"))
    assert sum(map(len, recording.pieces)) == len(text), "each character is read once"
    assert max(map(len, recording.pieces)) <= LONGEST_LINE
    assert_exact(text, passages, 1000)


def test_lines_just_short_of_long_are_searched_in_linear_time():
    text = ("x" * (LONGEST_LINE - 1) + "\n") * 250
    assert list(_short_lines(text)) == [(0, len(text))]


def test_long_lines_among_short_ones_are_cut_alone():
    text = "short line\n" * 5 + "y" * (2 * LONGEST_LINE + 7) + "\n\nand a last one\n"
    splitter = Splitter(1000)
    splitter._splitter = recording = Recording(splitter._splitter)
    assert_exact(text, splitter.split(Document(text)), 1000)
    assert "".join(recording.pieces) == text
    assert max(len(line) for piece in recording.pieces for line in piece.split("\n")) <= LONGEST_LINE


def test_a_long_line_is_cut_at_a_blank_where_there_is_one():
    text = "seven77 " * 10_000
    words = {word for passage in Splitter(1000).split(Document(text)) for word in passage.text.split()}
    assert words == {"seven77"}


def test_text_that_is_not_valid_unicode_becomes_valid_one_for_one(caplog):
    with caplog.at_level(logging.WARNING):
        [document] = read_documents(Document("a\x00b\ud800c", "odd"))
    assert document.text == "a\ufffdb\ufffdc"
    assert "2 characters" in caplog.text
    assert "odd" in caplog.text


@given(ANY)
def test_clean_text_keeps_length_and_can_be_encoded(text):
    cleaned = clean_text(text)
    assert len(cleaned) == len(text)
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned


def test_a_generator_is_consumed_once():
    taken = []

    def source():
        for text in ("one", "two"):
            taken.append(text)
            yield text

    assert [document.text for document in read_documents(source())] == ["one", "two"] == taken


def test_ids_are_the_callers_else_the_texts_hash():
    assert Document("text", "mine").id == "mine"
    assert Document("text").id == Document("text").id == text_hash("text")[:32]
    assert Document("text").id != Document("text ").id
    assert text_hash("ab", "c") != text_hash("a", "bc")


@pytest.mark.parametrize("twice", [["same", "same"], [Document("a", "x"), Document("b", "x")]])
def test_duplicate_ids_are_refused(twice):
    with pytest.raises(InputError, match="Two documents have the id"):
        list(read_documents(twice))


@pytest.mark.parametrize("source", [None, 5, b"bytes", {"id": "text"}, [b"bytes"], [None], [{"text": "x"}]])
def test_what_is_not_a_document_is_refused_by_its_type(source):
    with pytest.raises(InputError, match="Expected"):
        list(read_documents(source))


@pytest.mark.parametrize("arguments", [(5,), (None,), (b"x",), ("x", 5), ("x", None), ("x", "a\x00"), ("x", "\udc00")])
def test_a_text_or_an_id_that_is_none_is_refused(arguments):
    with pytest.raises(InputError, match="document's"):
        Document(*arguments)


@pytest.mark.parametrize("value", [object(), {1, b"x"}, b"x", {"deep": [object()]}])
def test_metadata_that_json_cannot_hold_is_refused_with_its_key(value):
    with pytest.raises(InputError, match="'bad'"):
        list(read_documents(Document("text", "id", {"good": 1, "bad": value})))


@pytest.mark.parametrize("metadata", [None, "x", [1]])
def test_metadata_that_is_no_mapping_is_refused(metadata):
    with pytest.raises(InputError, match="must be a mapping"):
        list(read_documents(Document("text", "id", metadata)))


def test_metadata_that_holds_itself_is_refused():
    circle = {}
    circle["bad"] = circle
    with pytest.raises(InputError, match="'bad'"):
        list(read_documents(Document("text", "id", circle)))


def test_a_shard_finds_the_document_of_a_range():
    shard = Shard((Document("first", "a"), Document("second", "b")))
    at = shard.text.index("second")
    assert shard.locate(at, at + 3) == ("b", 0, 3)
    assert shard.locate(1, 3) == ("a", 1, 3)
    assert shard.locate(0, len(shard.text)) == ("a", 0, 5), "clipped to the document it begins in"
    assert shard.locate(at, at + 99) == ("b", 0, 6)
    assert shard.content_hash == Shard((Document("first", "x"), Document("second", "y"))).content_hash
    assert shard.content_hash != Shard((Document("firstsecond"),)).content_hash
    with pytest.raises(InputError):
        Shard(()).locate(0, 1)
