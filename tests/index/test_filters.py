"""Metadata filters with operators."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.index.filters import OPERATORS, filter_predicate

A = {"kind": "novel", "year": 1902, "tags": ["x", "y"], "on": date(2024, 5, 1), "at": datetime(2024, 5, 1, 12)}
B = {"kind": "letter", "year": 1950, "on": date(2023, 1, 1), "at": datetime(2023, 1, 1), "id": UUID(int=7)}
C = {"kind": "novel", "year": 2000}


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({}, "abc"),
        ({"kind": "novel"}, "ac"),
        ({"kind": ["letter", "novel"]}, "abc"),
        ({"year": {"$eq": 1902}}, "a"),
        ({"year": {"$ne": 1902}}, "bc"),
        ({"year": {"$gt": 1902, "$lt": 2000}}, "b"),
        ({"year": {"$gte": 1902, "$lte": 1950}}, "ab"),
        ({"kind": {"$in": ["novel"]}, "year": {"$gt": 1950.5}}, "c"),
        ({"kind": {"$nin": ["novel"]}}, "b"),
        ({"id": {"$ne": 3}}, "abc"),
        ({"id": {"$nin": [1]}}, "abc"),
        ({"id": {"$eq": str(UUID(int=7))}}, "b"),
        ({"id": UUID(int=7)}, "b"),
        ({"$or": [{"kind": "letter"}, {"year": {"$gt": 1990}}]}, "bc"),
        ({"$and": [{"kind": "novel"}, {"$not": {"year": 2000}}]}, "a"),
        ({"year": {"$not": {"$gt": 1950}}}, "ab"),
        ({"year": {"$not": 1950}}, "ac"),
        ({"$not": {"$or": [{"kind": "letter"}, {"year": 1902}]}}, "c"),
        ({"on": {"$gte": date(2024, 1, 1)}}, "a"),
        ({"on": {"$lt": "2024-01-01"}}, "b"),
        ({"on": "2024-05-01"}, "a"),
        ({"on": {"$lt": datetime(2024, 1, 1)}}, "b"),
        ({"at": {"$gt": date(2024, 5, 1)}}, "a"),
        ({"at": {"$gt": "2024-05-01T11:00:00"}}, "a"),
        ({"kind": {"$gt": "m"}}, "ac"),
        (lambda metadata: metadata["year"] < 1910, "a"),
    ],
)
def test_a_filter_admits_what_it_says(filters, passing):
    accept = filter_predicate(filters)
    assert "".join(name for name, metadata in zip("abc", (A, B, C), strict=True) if accept(metadata)) == passing


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"year": {"$gtt": 3}}, r"no filter operator '\$gtt'.*\$gte"),
        ({"$nor": [{}]}, r"no filter operator '\$nor'"),
        ({"kind": {"$like": "n%"}}, r"\$like"),
        ({"year": {"$gt": 3, "plain": 1}}, "no filter operator 'plain'"),
        ({"kind": {"$in": "novel"}}, r"\$in of 'kind' takes a list, found 'novel' \(str\)"),
        ({"year": {"$gt": None}}, "takes a number, a text or a date, found None"),
        ({"year": {"$lte": [1]}}, r"\$lte of 'year'"),
        ({"year": {"$lt": True}}, r"\$lt of 'year'"),
        ({"$or": []}, r"\$or takes a list of at least one filter"),
        ({"$and": {"kind": "novel"}}, r"\$and takes a list"),
        ({"$not": 3}, "mapping"),
        ("kind", "mapping"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(filters, message):
    with pytest.raises(InputError, match=message):
        filter_predicate(filters)


@pytest.mark.parametrize(
    "filters", [{"year": {"$gt": "1900"}}, {"kind": {"$lt": 3}}, {"at": {"$lt": datetime.now(UTC)}}]
)
def test_types_that_cannot_be_compared_are_named(filters):
    with pytest.raises(InputError, match=r"cannot compare '\w+': a passage holds"):
        filter_predicate(filters)(A)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_filters_the_engine(operator):
    memo = MemoRAG()
    memo.memorize([Document("the mill", "a", A), Document("the mill wheel", "b", B)], progress=False)
    operand = ["novel"] if operator in ("$in", "$nin") else "novel"
    found = {piece.document_id for piece in memo.retrieve("mill", filters={"kind": {operator: operand}})}
    expected = {"$eq": "a", "$ne": "b", "$gt": "", "$gte": "a", "$lt": "b", "$lte": "ab", "$in": "a", "$nin": "b"}
    assert found == set(expected[operator])
