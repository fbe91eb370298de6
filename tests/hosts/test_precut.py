"""Passages that a host has cut, put together to documents."""

from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import MemoRAG
from memorag_integrations.hosts.precut import PrecutPassage, assemble_documents

TEXT = "The lamp was lit. The ship came in. The harbour slept. Nobody stirred."
SPANS = [(0, 17), (18, 35), (36, 54), (55, 70)]


def pieces(order=(0, 1, 2, 3), document="d"):
    return [PrecutPassage(f"{document}{i}", document, TEXT[slice(*SPANS[i])], *SPANS[i]) for i in order]


def ids(passages):
    return [passage.id for passage in passages]


def test_pieces_are_grouped_by_document_in_the_order_of_their_offsets():
    mixed = [piece for pair in zip(pieces((2, 0, 3, 1), "a"), pieces((3, 2, 1, 0), "b"), strict=True) for piece in pair]
    documents, passages = assemble_documents(mixed)
    assert [document.id for document in documents] == ["a", "b"]
    for document in documents:
        assert ids(passages[document.id]) == [f"{document.id}{i}" for i in range(4)]
        assert document.text == TEXT
        for passage, (start, end) in zip(passages[document.id], SPANS, strict=True):
            assert (passage.start, passage.end, passage.centre) == (start, end, (start + end) / 2)


def test_where_no_piece_is_the_document_is_blank():
    [document], passages = assemble_documents(pieces((0, 3)))
    assert document.text == TEXT[:17] + " " * 38 + TEXT[55:]
    assert [document.text[p.start : p.end] for p in passages["d"]] == [p.text for p in passages["d"]]


def test_pieces_that_overlap_stand_in_one_text():
    spans = [(0, 30), (18, 54), (36, 70)]
    [document], _ = assemble_documents(PrecutPassage(str(s), "d", TEXT[slice(*s)], *s) for s in spans)
    assert document.text == TEXT


def test_sparse_offsets_make_no_giant_text():
    far = 10_000_000_000
    [document], passages = assemble_documents(
        [PrecutPassage("a", "d", "near", 0, 4), PrecutPassage("b", "d", "far", far, far + 3)]
    )
    assert document.text == "near\nfar"
    assert [(p.start, p.end, p.centre) for p in passages["d"]] == [(0, 4, 2.0), (far, far + 3, 6.5)]


def test_offsets_that_do_not_fit_their_text_are_kept_but_not_used():
    [document], passages = assemble_documents(
        [PrecutPassage("a", "d", "text with a header", 0, 4), PrecutPassage("b", "d", "more", 4, 8)]
    )
    assert document.text == "text with a header\nmore"
    assert [(p.start, p.end) for p in passages["d"]] == [(0, 4), (4, 8)]


def linked(*links):
    return [PrecutPassage(id, "d", f"text {id}", follows=follows) for id, follows in links]


def test_without_offsets_links_give_the_order():
    _, passages = assemble_documents(linked(("c", "b"), ("a", None), ("b", "a")))
    assert ids(passages["d"]) == ["a", "b", "c"]
    centres = [passage.centre for passage in passages["d"]]
    assert centres == sorted(centres)


def test_without_offsets_and_links_pieces_stand_as_given():
    [document], passages = assemble_documents(linked(("c", None), ("a", None), ("b", None)))
    assert ids(passages["d"]) == ["c", "a", "b"]
    assert document.text == "text c\ntext a\ntext b"


def test_two_chains_stand_where_their_heads_stood():
    _, passages = assemble_documents(linked(("x2", "x1"), ("y1", None), ("x1", None), ("y2", "y1")))
    assert ids(passages["d"]) == ["y1", "y2", "x1", "x2"]


def test_one_offset_missing_and_links_count_for_all():
    start = pieces()
    start[1] = PrecutPassage("d1", "d", start[1].text, follows="d2")
    _, passages = assemble_documents(start)
    assert ids(passages["d"]) == ["d0", "d2", "d1", "d3"]


@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.data())
def test_any_links_keep_every_piece_once(names, data):
    """Rings, two that follow one, links to oneself and to nowhere."""
    links = [(name, data.draw(st.sampled_from([None, "nowhere", *names]))) for name in names]
    [document], passages = assemble_documents(linked(*links))
    assert sorted(ids(passages["d"])) == sorted(names)
    assert all(passage.text in document.text for passage in passages["d"])


def test_blank_pieces_are_no_passages():
    [document], passages = assemble_documents([PrecutPassage("a", "d", "text"), PrecutPassage("b", "d", "  ")])
    assert ids(passages["d"]) == ["a"]
    assert document.text == "text\n  "


def test_a_generator_is_read_once_and_nothing_gives_nothing():
    assert assemble_documents(iter([])) == ([], {})
    assert ids(assemble_documents(iter(pieces()))[1]["d"]) == ["d0", "d1", "d2", "d3"]


def test_metadata_and_host_are_carried_untouched():
    metadata, host = {"page": 1}, {"any": ["thing"]}
    _, passages = assemble_documents([PrecutPassage("a", "d", "text", metadata=metadata, host=host)])
    assert passages["d"][0].metadata is metadata
    assert passages["d"][0].host is host


def test_what_is_not_valid_unicode_can_be_memorized_and_saved(tmp_path, minilm):
    documents, passages = assemble_documents(
        [PrecutPassage("a", "d", "odd \ud800 text", 0, 10), PrecutPassage("b", "d", "\x00nul", 11, 15)]
    )
    memo = MemoRAG(embedder=minilm)
    memo.memorize(documents, split=lambda document: passages[document.id], save_dir=tmp_path / "s", progress=False)
    assert MemoRAG.load(tmp_path / "s").corpus.index.passages == memo.corpus.index.passages
    assert memo.retrieve("odd text", 1)[0].text == "odd \ufffd text"
