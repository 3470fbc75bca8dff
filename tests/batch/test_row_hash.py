"""The hash of the rows of a table: what makes no difference to it, what does, and how another program computes it."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from batch import row_hash
from batch.row_hash import RowHash
from batch.row_texts import write_column, write_lines, write_values

ROWS: list[dict[str, Any]] = [
    {"name": "Ann", "age": 40, "worth": 1.5},
    {"name": "", "age": None, "worth": 0.1},
    {"name": None, "age": 41, "worth": None},
    {"name": "Ann", "age": 40, "worth": 1.5},
    {"name": "Åsa", "age": -1, "worth": 1e300},
]


def tell(rows: list[dict[str, Any]], pages: int = 100) -> str:
    """Return the hash of rows that come in pages."""
    hashed = RowHash(rows[0])
    for start in range(0, len(rows), pages):
        hashed.add(pa.RecordBatch.from_pylist(rows[start : start + pages]))
    return str(hashed.describe()["hash"])


def test_another_program_can_compute_it() -> None:
    """As the module's documentation says, with nothing of the module."""
    total = 0
    for line in ("40,Ann,1.5", ',"",0.1', "41,,", "40,Ann,1.5", "-1,Åsa,1e+300"):
        total += int.from_bytes(hashlib.shake_256(f"{line}\n".encode()).digest(256), "little")
    content = json.dumps(["rows-1", ["age", "name", "worth"], 5, f"{total % 2**2048:0512x}"], separators=(",", ":"))
    assert tell(ROWS) == f"rows-1:{hashlib.sha256(content.encode()).hexdigest()}"


@pytest.mark.parametrize("pages", [1, 2, 3, 5])
def test_order_and_pages_make_no_difference(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_hash, "_BLOCK_ROWS", 2)
    turned = [dict(reversed(row.items())) for row in reversed(ROWS)]
    assert tell(ROWS, pages) == tell(turned, pages) == tell(ROWS)


def test_hashes_of_parts_add_up_across_processes() -> None:
    merged = RowHash(["worth", "age", "name"])
    for start in (2, 0, 4):
        part = RowHash(ROWS[0])
        part.add(pa.RecordBatch.from_pylist(ROWS[start : start + 2]))
        merged.merge(json.loads(json.dumps(part.to_state())))
    assert merged.describe() == {"columns": ["age", "name", "worth"], "rows": 5, "hash": tell(ROWS)}


@pytest.mark.parametrize(
    "other",
    [
        [{**ROWS[0], "worth": 1.5000000000000002}, *ROWS[1:]],
        [*ROWS, ROWS[1]],
        [*ROWS, ROWS[0], ROWS[0]],
        ROWS[1:],
        [ROWS[1], ROWS[2], ROWS[4]],  # a pair less, which an exclusive or would not see
        [ROWS[0], {**ROWS[1], "name": None}, *ROWS[2:]],
        [{"name": "40", "age": "Ann", "worth": 1.5}, *ROWS[1:]],
        [{"nom": row["name"], "age": row["age"], "worth": row["worth"]} for row in ROWS],
        [{**row, "more": None} for row in ROWS],
    ],
    ids=["value", "repeated", "repeated twice", "missing", "pair missing", "null", "swapped", "name", "column"],
)
def test_whatever_changes_a_table_changes_it(other: list[dict[str, Any]]) -> None:
    assert tell(other, 1) != tell(ROWS)


@pytest.mark.parametrize(
    ("one", "other"),
    [(["1,2", "3"], ["1", "2,3"]), (["", "a"], ["a", ""]), (['"', None], [None, '"']), (['""', ""], ["", '""'])],
)
def test_cells_keep_their_bounds(one: list[str | None], other: list[str | None]) -> None:
    assert tell([dict(zip("ab", one, strict=True))]) != tell([dict(zip("ab", other, strict=True))])


def test_lines_are_those_of_csv() -> None:
    texts = ["a", None, "", "a,b", 'say "a"', "two\nlines", "a\r", " ", "\\.", "é"]
    lines = write_lines([pa.array(texts), pa.array(texts[::-1])])
    assert [line.decode() for line in lines[:5]] == [
        "a,é\n",
        ",\\.\n",
        '"", \n',
        '"a,b","a\r"\n',
        '"say ""a""","two\nlines"\n',
    ]
    assert len(set(lines)) == len(texts)


def test_a_table_without_rows_has_one_too() -> None:
    empty = RowHash(["a"]).describe()
    assert (empty["rows"], empty["hash"] == RowHash(["b"]).describe()["hash"]) == (0, False)


def test_the_text_of_a_value_depends_on_it_alone() -> None:
    values = [
        *(1, 1.0, "1", True, None, "", -0.0, 1e16, 0.1, float("inf"), 2**70, Decimal("1.50"), b"\x00a"),
        *(date(2026, 3, 1), datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))),
        *(uuid.UUID(int=1), [1, None, "é"], {"a": date(2026, 3, 1)}),
    ]
    texts = [
        *("1", "1.0", "1", "true", None, "", "-0.0", "1e+16", "0.1", "inf", str(2**70), "1.50", "\\x0061"),
        *("2026-03-01", "2026-03-01 12:00:00", "2026-03-01 11:00:00+00:00"),
        *("00000000-0000-0000-0000-000000000001", '[1,null,"é"]', '{"a":"2026-03-01"}'),
    ]
    assert write_values(values).to_pylist() == texts
    assert [write_values([one]).to_pylist()[0] for one in values] == texts


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([1, None], pa.int8()), ["1", None]),
        (pa.array([1, None], pa.int64()), ["1", None]),
        (pa.array([1, 0.1], pa.float64()), ["1.0", "0.1"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["a", "", None]), ["a", "", None]),
        (pa.array(["a", "", None]).dictionary_encode(), ["a", "", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([b"a"]), ["\\x61"]),
        (pa.array([Decimal("1.50")], pa.decimal128(5, 2)), ["1.50"]),
        (
            pa.array([datetime(2026, 3, 1, tzinfo=UTC)], pa.timestamp("us", "Europe/Paris")),
            ["2026-03-01 00:00:00+00:00"],
        ),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)
def test_columns_of_arrow_are_written_as_the_values_are(column: pa.Array, texts: list[str | None]) -> None:
    assert write_column(column).to_pylist() == texts == write_values(column.to_pylist()).to_pylist()
