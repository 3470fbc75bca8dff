"""Identifiers of tables over HTTP: whole numbers stay whole, UUIDs are text, row numbers have a name of their own."""

from __future__ import annotations

import json
import math
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from bundles import CUSTOMER
from table_requests import ARROW, post, read_arrow, to_arrow

if TYPE_CHECKING:
    from starlette.testclient import TestClient

UUIDS = [uuid.UUID(int=1), None, uuid.UUID(int=3)]
TEXTS = [None if one is None else str(one) for one in UUIDS]
BYTES = [None if one is None else one.bytes for one in UUIDS]


def send(client: TestClient, column: pa.Array, query: str = "") -> Any:
    customers = [CUSTOMER | {"CustomerId": 0}] * len(column)
    return post(client, to_arrow(customers, CustomerId=column), ARROW, query)


@pytest.mark.parametrize(
    ("column", "kind", "answered"),
    [
        (pa.array([12345678901.0, None, math.nan]), pa.int64(), [12345678901, None, None]),
        (pa.array([1.0, 2.0, 3.0], pa.float32()), pa.int64(), [1, 2, 3]),
        (pa.array([1.0, 2.0, 1.0]).dictionary_encode(), pa.int64(), [1, 2, 1]),
        (pa.array([1, None, 3], pa.uint16()), pa.uint16(), [1, None, 3]),
        (pa.array(["a", None, "a"]).dictionary_encode(), pa.string(), ["a", None, "a"]),
        (pa.array(UUIDS, pa.uuid()), pa.string(), TEXTS),
        (pa.array(BYTES, pa.binary(16)), pa.string(), TEXTS),
    ],
    ids=str,
)
def test_identifiers_come_back_as_what_they_name(
    client: TestClient, column: pa.Array, kind: pa.DataType, answered: list[Any]
) -> None:
    for query in ("", "?on_error=reject"):
        answer = send(client, column, query)
        assert answer.status_code == 200, answer.text
        assert pa.ipc.open_stream(answer.content).schema.field("CustomerId").type == kind
        assert [row["CustomerId"] for row in read_arrow(answer.content)] == answered


@pytest.mark.parametrize("number", [0.5, 2.0**63, -1e300, math.inf])
def test_a_float_that_names_nobody_is_refused_by_row(client: TestClient, number: float) -> None:
    column = pa.array([1.0, number, 3.0])
    answer = send(client, column)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["row"], error["field"], error["reason"]) == (2, "CustomerId", "is not an identifier")
    assert "from -9223372036854775808 to 9223372036854775807 (64 bits, signed)" in error["allowed"]
    rows = read_arrow(send(client, column, "?on_error=reject").content)
    assert [row["CustomerId"] for row in rows] == [1, None, 3]
    assert [row["probability"] is None for row in rows] == [False, True, False]
    assert rows[1]["error"].startswith("CustomerId is not an identifier")


@pytest.mark.parametrize("column", [pa.array([[1]]), pa.array([b"a"]), pa.array([b"1234"], pa.binary(4))], ids=str)
def test_a_type_that_names_nobody_is_refused(client: TestClient, column: pa.Array) -> None:
    answer = send(client, column)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "CustomerId"
    assert error["allowed"] == "texts, whole numbers or UUIDs"


def test_a_misspelt_identifier_names_nobody(client: TestClient) -> None:
    rows = read_arrow(post(client, to_arrow([CUSTOMER | {"CustomerID": 7}] * 2), ARROW).content)
    assert [row["row"] for row in rows] == [1, 2]
    assert not {"CustomerId", "CustomerID"} & {*rows[0]}
    body = json.dumps(CUSTOMER | {"CustomerID": 7}).encode()
    assert post(client, body, "application/json").status_code == 422
