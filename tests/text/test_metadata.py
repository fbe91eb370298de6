"""Metadata that JSON has no form for: accepted, kept through a store, filtered by, and refused by name where it cannot be."""

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.text.metadata import TAG, decode_metadata, encode_metadata, plain_metadata

VALUES = {
    "datetime": datetime(2024, 5, 1, 9, 30, 15, 250),
    "zoned": datetime(2024, 5, 1, 9, 30, tzinfo=timezone(timedelta(hours=2))),
    "utc": datetime(2024, 5, 1, tzinfo=UTC),
    "date": date(2024, 5, 1),
    "time": time(9, 30),
    "duration": timedelta(days=-1, seconds=3, microseconds=7),
    "uuid": UUID("12345678123456781234567812345678"),
    "path": Path("notes") / "first.md",
    "posix": PurePosixPath("/a/b"),
    "windows": PureWindowsPath("C:/a"),
    "decimal": Decimal("12.50"),
    "set": {1, "two", (3, 4)},
    "frozenset": frozenset({date(2024, 1, 1)}),
    "tuple": (1, (2, [3, {4}])),
    "numbered": {1: "one", None: "none"},
    "nested": {"when": [date(2024, 5, 1)], "who": {"id": UUID(int=3)}},
    "looks tagged": {TAG: "set", "value": [1, 2]},
    "plain": {"a": [1, 2.5, None, True, "text"]},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_equal_and_of_its_type(name):
    value = VALUES[name]
    stored = json.dumps(encode_metadata({"key": value}, "a document"))
    found = decode_metadata(json.loads(stored))["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(7), 7),
        (np.uint8(255), 255),
        (np.float32(1.5), 1.5),
        (np.float64(2.25), 2.25),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.datetime64("2024-05-01T09:30"), datetime(2024, 5, 1, 9, 30)),
        (np.timedelta64(90, "s"), timedelta(seconds=90)),
    ],
)
def test_numbers_and_dates_of_numpy_become_pythons(value, expected):
    found = decode_metadata(json.loads(json.dumps(encode_metadata({"key": value}, "a document"))))["key"]
    assert found == expected
    assert type(found) is type(expected)


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"at": object()}, "'at' is a object"),
        ({"a": {"b": [1, Colour.RED]}}, r"'a' is a Colour \(at a\.b\[1\]\)"),
        ({"vector": np.zeros(3)}, "'vector' is a ndarray"),
        ({"f": len}, "'f' is a builtin"),
        ({object(): 1}, "is a object"),
    ],
)
def test_what_has_no_form_is_refused_with_its_key(metadata, named):
    with pytest.raises(InputError, match=named):
        MemoRAG().memorize(Document("text", "a", metadata), progress=False)


def test_a_value_that_holds_itself_is_refused():
    ring: list = []
    ring.append(ring)
    with pytest.raises(InputError, match="hold itself"):
        encode_metadata({"ring": ring}, "a document")


def test_plain_json_reads_as_it_always_did():
    old = {"a": 1, "b": [1, {"c": None}], TAG: "note", "d": {TAG: "no such tag", "value": 3}}
    assert decode_metadata(old) == old


_leaves = st.none() | st.booleans() | st.integers() | st.text() | st.dates() | st.datetimes() | st.uuids()


@given(
    st.dictionaries(
        st.text() | st.just(TAG),
        st.recursive(
            _leaves | st.frozensets(_leaves),
            lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.just("value"), inner),
            max_leaves=8,
        ),
    )
)
def test_whatever_is_accepted_comes_back(metadata):
    assert decode_metadata(json.loads(json.dumps(encode_metadata(metadata, "a document")))) == metadata


def test_a_store_keeps_them_and_what_is_the_same_is_not_a_change(tmp_path):
    memo = MemoRAG()
    memo.memorize(Document("Anna kept the mill.", "a", VALUES), progress=False)
    memo.save(tmp_path / "s")
    loaded = MemoRAG.load(tmp_path / "s")
    found = loaded.get("a").metadata
    assert found == VALUES
    assert {name: type(value) for name, value in found.items()} == {name: type(v) for name, v in VALUES.items()}
    assert loaded.retrieve("mill")[0].passage.metadata == VALUES
    assert not loaded.upsert(Document("Anna kept the mill.", "a", MappingProxyType(VALUES)), progress=False)


@pytest.mark.parametrize("name", ["datetime", "zoned", "date", "uuid", "path", "tuple", "decimal"])
def test_they_are_filtered_by_before_and_after_a_save(name, tmp_path):
    memo = MemoRAG()
    memo.memorize([Document("The mill.", "a", VALUES), Document("The mill wheel.", "b", {})], progress=False)
    memo.save(tmp_path / "s")
    for one in (memo, MemoRAG.load(tmp_path / "s")):
        value = [VALUES[name]] if name == "tuple" else VALUES[name]
        assert [piece.document_id for piece in one.retrieve("mill", filters={name: value})] == ["a"]


def test_evidence_as_json_holds_them_in_plain_json():
    memo = MemoRAG()
    memo.memorize(Document("Anna kept the mill.", "a", VALUES | {"n": np.float32(1.5)}), progress=False)
    found = json.loads(json.dumps(memo.retrieve("mill")[0].to_json()))["metadata"]
    assert found["date"] == "2024-05-01"
    assert found["zoned"] == "2024-05-01T09:30:00+02:00"
    assert found["uuid"] == str(VALUES["uuid"])
    assert found["n"] == 1.5
    assert plain_metadata({3, 1, 2}) == [1, 2, 3]
