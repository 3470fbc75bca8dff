from __future__ import annotations

import io
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tampering import forge_manifest

from churn.bundle import read_bundle
from churn.dates import count_days
from churn.errors import BundleError
from churn.feature import Feature
from churn.schema import Schema
from churn.trust.background import BACKGROUND_FILE, MAX_ROWS, decode_background, limit_size

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema(
    (
        Feature("amount", "number", minimum=0, nullable=True),
        Feature("products", "integer", maximum=4),
        Feature("country", "category", categories=("A", "B"), open=True),
        Feature("card", "flag"),
        Feature("since", "date"),
    ),
    label="left",
)
ROW = [1.5, 2.0, 2.0, 1.0, 19_000.0]


def encode(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_background_is_read_as_it_was_written() -> None:
    rows = np.array([ROW, [np.nan, -3, 0, 0, -10.0]])
    np.testing.assert_array_equal(decode_background(encode(rows), SCHEMA), rows)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, -0.5, r"amount has -0.5 in row 1; allowed: numbers from 0 to 1e\+15"),
        (0, np.inf, "amount has inf in row 1"),
        (1, np.nan, "products has a missing value in row 1, and is not nullable"),
        (1, 5, "products has 5 in row 1; allowed: whole numbers from -1e"),
        (1, 1.5, "products has 1.5 in row 1; allowed: whole numbers"),
        (2, 3, "country has 3 in row 1; allowed: whole numbers from 0 to 2"),
        (2, -1, "country has -1"),
        (3, 2, "card has 2 in row 1; allowed: whole numbers from 0 to 1"),
        (4, 0.5, "since has 0.5"),
        (4, count_days(date.max) + 1, "since has"),
    ],
)
def test_a_value_that_the_schema_does_not_allow_is_refused(column: int, value: float, message: str) -> None:
    rows = np.array([ROW, ROW])
    rows[1, column] = value
    with pytest.raises(BundleError, match=message):
        decode_background(encode(rows), SCHEMA)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a NumPy file"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "is not a NumPy file"),
        (encode(np.array([ROW], np.float32)), "contains <f4; allowed: <f8"),
        (encode(np.array([ROW], object)), r"contains \|O; allowed: <f8"),
        (encode(np.asfortranarray(np.array([ROW, ROW]))), "allowed: <f8, row by row"),
        (encode(np.array(ROW)), r"has the shape \(5,\); allowed: 1 to 4096 rows of 5 columns"),
        (encode(np.array([ROW])[:, :4]), r"has the shape \(1, 4\)"),
        (encode(np.zeros((0, 5))), r"has the shape \(0, 5\)"),
        (encode(np.zeros((MAX_ROWS + 1, 5))), "has the shape"),
        (encode(np.array([ROW]))[:-8], r"has 32 bytes of numbers for the shape \(1, 5\)"),
        (encode(np.array([ROW])) + b"\0", "has 41 bytes of numbers"),
        (encode(np.array([ROW])).replace(b"(1, 5)", b"(9, 5)"), "has 40 bytes of numbers"),
    ],
)
def test_a_file_of_another_form_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        decode_background(data, SCHEMA)


def test_a_bundle_with_a_wrong_background_is_refused(own_models: Path) -> None:
    folder = own_models / "1"
    bundle = read_bundle(folder)
    assert bundle.background is not None
    wrong = bundle.background.copy()
    wrong[0, bundle.manifest.schema.names.index("Age")] = np.nan
    np.save(folder / BACKGROUND_FILE, wrong)
    forge_manifest(folder, lambda _: None)
    with pytest.raises(BundleError, match=rf"/1/{BACKGROUND_FILE}: Age has a missing value in row 0"):
        read_bundle(folder)
    (folder / BACKGROUND_FILE).write_bytes(b"\0" * (limit_size(bundle.manifest.schema) + 1))
    forge_manifest(folder, lambda _: None)
    with pytest.raises(BundleError, match=r"bytes; allowed: at most"):
        read_bundle(folder)


def test_a_bundle_without_background_is_read(own_models: Path) -> None:
    (own_models / "1" / BACKGROUND_FILE).unlink()
    forge_manifest(own_models / "1", lambda _: None)
    assert read_bundle(own_models / "1").background is None
