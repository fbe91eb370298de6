"""A host's pieces in a corpus that is there, and what a host's index passes over."""

from types import MappingProxyType

import pytest

from memorag_integrations import Document, MemoRAG
from memorag_integrations.documents import GIVEN
from memorag_integrations.errors import InputError, StoreError
from memorag_integrations.hosts.precut import PrecutPassage
from memorag_integrations.hosts.precut_edits import insert_passages, precut_passages, refresh_passages, remove_passages
from tests.conftest import HashEmbedder


def back(passage):
    return PrecutPassage(
        passage.id,
        passage.document_id,
        passage.text,
        passage.start,
        passage.end,
        passage.host["follows"],
        passage.metadata,
        passage.host,
    )


def piece(id, text, document="tale", start=None, follows=None):
    end = None if start is None else start + len(text)
    return PrecutPassage(id, document, text, start, end, follows, {"n": id}, {"follows": follows})


def ids(memo, document="tale"):
    return [passage.id for passage in memo.corpus.entries[document].passages]


def test_an_upsert_never_keeps_an_old_text_for_a_new_one_that_is_blank():
    memo = MemoRAG()
    memo.add([Document("old text", "a")], progress=False)
    with pytest.raises(InputError, match="new version of document 'a' holds no text"):
        memo.upsert([Document("  ", "a"), Document("more", "b")], progress=False)
    assert list(memo.corpus.documents) == ["a"]
    memo.upsert([Document("  ", "c"), Document("more", "b")], progress=False)
    assert list(memo.corpus.documents) == ["a", "b"]


def test_metadata_that_its_owner_changes_is_a_change_when_it_is_passed_again(tmp_path):
    memo = MemoRAG.open(tmp_path / "s")
    document = Document("text", "a", {"tags": ["x"]})
    memo.add(document, progress=False)
    document.metadata["tags"].append("y")
    assert memo.get("a").metadata == {"tags": ["x"]}
    assert memo.upsert(document, progress=False).replaced == ("a",)
    found = memo.get("a")
    found.metadata["tags"].append("z")
    assert memo.upsert(found, progress=False).replaced == ("a",)
    assert MemoRAG.load(tmp_path / "s").get("a").metadata == {"tags": ["x", "y", "z"]}
    assert memo.upsert(Document("text", "b", MappingProxyType({"n": 1})), progress=False).added == ("b",)


def test_pieces_stand_at_their_offsets_whenever_they_come():
    memo = MemoRAG(embedder=HashEmbedder())
    insert_passages(memo, [piece("c", "the third", start=40), piece("a", "the first", start=0)], back, progress=False)
    change = insert_passages(memo, [piece("b", "the second", start=20)], back, progress=False)
    assert ids(memo) == ["a", "b", "c"]
    assert (change.replaced, change.encoded) == (("tale",), 1)
    assert memo.corpus.texts["tale"] == "the first".ljust(20) + "the second".ljust(20) + "the third"


def test_pieces_without_offsets_stand_where_their_links_say_else_in_their_place_or_last():
    memo = MemoRAG()
    insert_passages(memo, [piece("a", "one"), piece("c", "three", follows="b")], back, progress=False)
    insert_passages(memo, [piece("b", "two", follows="a")], back, progress=False)
    assert ids(memo) == ["a", "b", "c"]
    insert_passages(memo, [piece("a", "one anew"), piece("d", "four")], back, progress=False)
    assert ids(memo) == ["a", "b", "c", "d"]
    assert memo.corpus.texts["tale"] == "one anew\ntwo\nthree\nfour"


def test_a_piece_moves_to_its_new_document_and_the_last_takes_its_old_one_along():
    memo = MemoRAG()
    insert_passages(
        memo, [piece("a", "one", "x"), piece("b", "two", "y"), piece("c", "three", "y")], back, progress=False
    )
    change = insert_passages(memo, [piece("a", "one", "y")], back, progress=False)
    assert (ids(memo, "y"), change.deleted) == (["b", "c", "a"], ("x",))


def test_the_same_pieces_again_change_nothing():
    memo = MemoRAG(embedder=HashEmbedder())
    every = [piece("a", "one"), piece("b", "two")]
    insert_passages(memo, every, back, progress=False)
    before = memo.corpus.entries["tale"]
    assert not insert_passages(memo, reversed(every), back, progress=False)
    assert memo.corpus.entries["tale"] is before


def test_other_documents_are_left_alone():
    memo = MemoRAG()
    memo.add([Document("whole text", "whole")], progress=False)
    insert_passages(memo, [piece("a", "one"), piece("z", "last", "other")], back, progress=False)
    kept = memo.corpus.entries["whole"], memo.corpus.entries["other"]
    insert_passages(memo, [piece("b", "two")], back, progress=False)
    assert (memo.corpus.entries["whole"], memo.corpus.entries["other"]) == kept
    assert list(precut_passages(memo.corpus.entries)) == ["a", "b", "z"]


def test_what_cannot_join_is_refused_and_nothing_is_lost():
    memo = MemoRAG()
    memo.add([Document("whole text", "whole")], progress=False)
    insert_passages(memo, [piece("a", "one")], back, progress=False)
    before = memo.corpus
    for pieces, message in (
        ([piece("b", "two", "whole")], "'whole' was given as a whole"),
        ([piece("b", "two"), piece("b", "three")], "Two passages have the same id"),
        ([piece("a", " \n"), piece("b", "two")], "new version of passage 'a' holds no text"),
        ([piece("whole:0-10", "two")], "Two passages have the id"),
    ):
        with pytest.raises(InputError, match=message):
            insert_passages(memo, pieces, back, progress=False)
        assert memo.corpus is before


def test_taking_out_passes_over_what_is_not_there():
    memo = MemoRAG()
    memo.add([Document("whole text", "whole")], progress=False)
    insert_passages(memo, [piece("a", "one"), piece("b", "two"), piece("z", "last", "other")], back, progress=False)
    taken = remove_passages(memo, ["whole", "tale", "no"], ["a", "z", "no"], back, whole=False, progress=False)
    assert (taken.documents, taken.passages) == (["whole"], ["a", "z"])
    assert (ids(memo), list(memo.corpus.documents)) == (["b"], ["tale"])
    assert remove_passages(memo, ["tale"], [], back, progress=False).documents == ["tale"]
    assert memo.retrieve("one") == []


def test_renewing_takes_what_is_new_or_changed_and_deletes_nothing():
    memo = MemoRAG()
    memo.add([Document("one", "a"), Document("two", "b")], progress=False)

    def same(entry, document):
        return entry.document.text == document.text

    change = refresh_passages(
        memo, [Document("one", "a", {"x": 1}), Document("three", "c"), Document(" ", "d")], same, progress=False
    )
    assert (change.added, change.replaced, change.deleted) == (("c",), (), ())
    assert memo.get("a").metadata == {}
    with pytest.raises(InputError, match="'b' holds no text"):
        refresh_passages(memo, [Document(" ", "b")], same, progress=False)
    assert not refresh_passages(memo, [], same, progress=False)


def test_what_another_process_did_meanwhile_stays(tmp_path):
    one, other = MemoRAG.open(tmp_path / "s"), MemoRAG.open(tmp_path / "s")
    insert_passages(one, [piece("a", "one")], back, progress=False)
    insert_passages(other, [piece("b", "two")], back, progress=False)
    insert_passages(one, [piece("c", "three")], back, progress=False)
    assert ids(one) == ["a", "b", "c"]
    assert remove_passages(other, [], ["c"], back, progress=False).passages == ["c"]
    assert ids(MemoRAG.load(tmp_path / "s")) == ["a", "b"]
    assert MemoRAG.load(tmp_path / "s").corpus.entries["tale"].cut == GIVEN
    with pytest.raises(StoreError, match="Another process is writing"):
        insert_passages(
            MemoRAG.open(tmp_path / "s", wait=0), [piece("d", "four")], _while_another_writes(tmp_path / "s")
        )


def test_what_is_there_is_asked_of_the_store_not_of_an_old_view_of_it(tmp_path):
    one, other = MemoRAG.open(tmp_path / "s"), MemoRAG.open(tmp_path / "s")
    other.add([Document("text", "a"), Document("text b", "b")], progress=False)
    assert one.delete("a", progress=False).deleted == ("a",)
    assert other.add([Document("new text", "a")], progress=False).added == ("a",)
    assert one.replace(Document("newer text", "a"), progress=False).replaced == ("a",)
    with pytest.raises(InputError, match="Expected the id of a document"):
        one.delete("no such", progress=False)
    with pytest.raises(InputError, match="already"):
        other.add([Document("text", "a")], progress=False)
    assert other.corpus.texts == one.corpus.texts == {"b": "text b", "a": "newer text"}


def _while_another_writes(folder):
    """As `back`, but from its first call on another process holds the store."""
    import sqlite3

    held = []

    def hold(passage):
        if not held:
            held.append(sqlite3.connect(folder / "memorag.sqlite3", isolation_level=None))
            held[0].execute("BEGIN IMMEDIATE")
        return back(passage)

    return hold
