"""One set of tables through every way a table is read: the same rows scored alike, the same rows refused alike."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import ways
from ways import CUSTOMER, SCHEMA, Fault, Outcome

from churn.feature import MISSING_WORDS, Feature
from churn.tables.csv_format import SAMPLE_BYTES
from churn.tables.encoding import NOT_UTF8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.testclient import TestClient

    from churn.scorer import Scorer

Row = dict[str, str]

NUMBERS = [
    *("0", "7", "42", "-3", "+5", "-0", "5.", ".5", "1.0", "42.0", "42.5", "0.1", "1e2", "1E+2", "3e-9", "1.e3", "007"),
    *(
        "130",
        "131",
        "1e15",
        "1e16",
        "1e400",
        "-1e400",
        "12345678901234567890",
        "inf",
        "-inf",
        "Infinity",
        "NAN",
        "-nan",
    ),
    *("0x10", "1_0", "1d", "--1", "1 0", "1e", "1/2", "$5", "5%", "\u0663", "\uff11", "\u00bd", "1,5", "1.234,5"),
    *("?", "x", "TRUE", "yes"),
]
FLAGS = [
    *("0", "1", "yes", "Yes", "YES", "yEs", "no", "No", "true", "True", "TRUE", "false", "FALSE"),
    *("0.0", "1.0", "1.", "+1", "-0", "01", "1e0", "2", "0.5", "-1"),
    *("y", "n", "t", "f", "on", "off", "yes.", "ja", "?", "inf", "NAN"),
]
CATEGORIES = [
    *("France", "Spain", "New Zealand", "france", "FRANCE", "Mars", "?", "New  Zealand", "Espa\u00f1a", "New\nZealand"),
    *("1", "2.5", "NO", "no", "2.50", "1.0", "0", 'Fra"nce', "France;", "France,"),
]
MISSING = ["", *sorted(MISSING_WORDS - {""}), "na", "n/a", "none", "NONE", "Null", "<NA>", "#N/A", "-", "NAN"]


def pad(cells: list[str]) -> list[str]:
    """Return cells with the blanks that exports pad them with."""
    return [*cells, *(form.format(cell) for cell in cells[:8] for form in (" {}", "{} ", "  {}  ", "\t{}", "{}\u00a0"))]


CELLS = {"number": pad(NUMBERS), "integer": pad(NUMBERS), "flag": pad(FLAGS), "category": pad(CATEGORIES)}
PLAIN: Row = {"CustomerId": "x", **{name: str(cell) for name, cell in CUSTOMER.items()}, "Exited": "0"}


def make_rows() -> list[Row]:
    """Return a row for each cell of each feature, every other cell being right."""
    rows = [PLAIN | {one.name: cell} for one in SCHEMA.features for cell in [*CELLS[one.kind], *pad(MISSING)]]
    return [row | {"CustomerId": f"c{number}", "Exited": str(number % 2)} for number, row in enumerate(rows)]


ROWS = make_rows()


def write(rows: list[Row], delimiter: str = ",", end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def say_in_json(feature: Feature, cell: str) -> object:
    """Return what JSON says where a table has that cell: docs/http-tables.md has the differences."""
    cell = cell.strip()
    if cell in MISSING_WORDS:
        return None
    is_number = re.fullmatch(
        r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", cell, re.ASCII | re.IGNORECASE
    )
    if feature.kind == "category" or not is_number:
        return cell
    return float(cell)


def compare(found: list[Outcome], expected: list[Outcome]) -> list[tuple[int, Outcome, Outcome]]:
    """Return the rows of which two ways say different things."""
    assert len(found) == len(expected)
    return [
        (row, one, other)
        for row, (one, other) in enumerate(zip(found, expected, strict=True))
        if type(one) is not type(other) or (abs(one - other) > 2.1e-6 if isinstance(one, float) else one != other)  # type: ignore[operator]
    ]


@pytest.fixture(scope="module")
def expected(client: TestClient) -> list[Outcome]:
    """What JSON makes of the rows: the reference."""
    customers = [{f.name: say_in_json(f, row[f.name]) for f in SCHEMA.features} for row in ROWS]
    return ways.by_json(client, customers)


def test_probabilities_tell_values_apart(expected: list[Outcome]) -> None:
    """Hold that the comparisons can fail: no value saturates the network, and each has its own probability."""
    scored = [outcome for outcome in expected if isinstance(outcome, float)]
    assert sum(0.01 < probability < 0.99 for probability in scored) > 0.98 * len(scored)
    for feature in SCHEMA.features:
        found = {}
        for row, outcome in zip(ROWS, expected, strict=True):
            cell = row[feature.name].strip()
            if isinstance(outcome, float) and cell in ("0", "7", "42", "1", "France", "Spain", "2.5", "NO"):
                found[cell] = outcome
        assert len({round(outcome, 5) for outcome in found.values()}) == len(found) > 1


@pytest.fixture(autouse=True)
def everything_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.tables.job.MAX_VIOLATIONS", 10**6)
    monkeypatch.setattr("training.tables.LISTED", 10**6)
    monkeypatch.setattr("training.streaming.faults.LISTED", 10**6)


def everywhere(
    client: TestClient, scorer: Scorer, path: Path, decimal: str | None = None
) -> dict[str, Callable[[], list[Outcome]]]:
    """Return every way in which a CSV file is read."""
    return {
        "HTTP": lambda: ways.by_http_csv(client, path, decimal),
        "HTTP in pieces": lambda: ways.by_http_csv_in_pieces(scorer, path, 41, decimal),
        "score": lambda: ways.by_score(scorer, path, path.parent, decimal),
        "train": lambda: ways.by_training(scorer, path, decimal),
        "train --stream": lambda: ways.by_streamed_training(scorer, path, decimal),
    }


@pytest.mark.parametrize("way", ["HTTP", "HTTP in pieces", "score", "train", "train --stream"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ids=["plain", "quoted"])
def test_every_cell_of_a_csv_is_judged_as_in_json(
    client: TestClient, scorer: Scorer, expected: list[Outcome], tmp_path: Path, way: str, quoting: int
) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(write(ROWS, quoting=quoting), newline="")
    assert compare(everywhere(client, scorer, path)[way](), expected) == []


@pytest.mark.parametrize("way", ["HTTP", "parquet", "arrow", "arrows", "sql", "train", "train --stream"])
def test_every_cell_of_a_column_of_text_is_judged_as_in_json(
    client: TestClient, scorer: Scorer, expected: list[Outcome], tmp_path: Path, way: str
) -> None:
    table = ways.to_text_batch(ROWS)
    found = {
        "HTTP": lambda: ways.by_http_arrow(client, table),
        "sql": lambda: ways.by_sql(scorer, ROWS, tmp_path / "rows.db"),
        "train": lambda: ways.by_training(scorer, ways.write_table(table, tmp_path / "rows.parquet")),
        "train --stream": lambda: ways.by_streamed_training(scorer, ways.write_table(table, tmp_path / "rows.parquet")),
    }.get(way, lambda: ways.by_score(scorer, ways.write_table(table, tmp_path / f"rows.{way}"), tmp_path))()
    assert compare(found, expected) == []


# --- The form of a CSV: the same customers, written in many ways ------------------------------------------------------

FEW: list[Row] = [
    PLAIN,
    PLAIN | {"Age": "?"},
    PLAIN | {"Balance": "", "Tenure": "NA", "Plan": " 2.5 ", "Land": "New Zealand"},
    PLAIN | {"Card": "", "Land": "Mars"},
    PLAIN | {"Income": "1e3", "Age": " 7", "Active": "FALSE"},
    PLAIN | {"Income": "0.25", "Age": "131"},
]
FEW = [row | {"CustomerId": f"c{number}"} for number, row in enumerate(FEW)]
WIDTH = len(FEW[0])
NOTED = [{**row, "Note": note} for row, note in zip(FEW, ["", 'a "b" c', "x\ny", "", "p;q,r|s\tt", '"'], strict=True)]
SHORT = (("", "has 3 fields"),)
LONG = (("", f"has {WIDTH + 1} fields"),)
OPEN = (("", "has a quote that does not close"),)


def lines(delimiter: str = ",") -> list[str]:
    return write(FEW, delimiter).splitlines()


def insert(at: int, line: str) -> str:
    return "\n".join([*lines()[:at], line, *lines()[at:]]) + "\n"


def german(rows: list[Row], *, thousands: bool = False) -> list[Row]:
    """Write numbers with decimal commas, and points between thousands."""

    def turn(cell: str) -> str:
        number = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?", cell)
        if number is None:
            return cell
        sign, whole, part = number.groups()
        whole = f"{int(whole):,}".replace(",", ".") if thousands else whole
        return sign + whole + (f",{part}" if part else "")

    numeric = [feature.name for feature in SCHEMA.features if feature.kind != "category"]
    return [row | {name: turn(row[name]) for name in numeric} for row in rows]


TEXTS: dict[str, str | bytes] = {
    **{f"separated by {name}": write(FEW, mark) for name, mark in
       {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}.items()},
    **{f"quotes and line ends in cells, {mark!r}": write(NOTED, mark) for mark in ",;\t|"},
    **{f"lines end with {end!r}": write(FEW, end=end) for end in ("\n", "\r\n", "\r")},
    **{f"quoted, {end!r} ends lines": write(NOTED, end=end, quoting=csv.QUOTE_ALL) for end in ("\n", "\r\n", "\r")},
    "line ends of three kinds": "".join(map("".join, zip(lines(), ["\n", "\r\n", "\r"] * 9, strict=False))),
    "no last line end": write(FEW)[:-1],
    "a byte-order mark": "\ufeff" + write(FEW),
    "a byte-order mark and quotes": "\ufeff" + write(FEW, quoting=csv.QUOTE_ALL),
    "a blank first line": "\n" + write(FEW),
    "blank first lines with blanks": "\r\n  \r\n\r\n" + write(FEW),
    "a blank first line, semicolons": "\n" + write(FEW, ";"),
    "a byte-order mark and a blank first line": "\ufeff\n" + write(FEW, ";"),
    "blank lines everywhere": "\n\n" + "\n\n".join(lines()) + "\n\n",
    "blank lines of CRLF everywhere": "\r\n\r\n".join(lines()) + "\r\n\r\n",
    "blanks around the names": write(FEW).replace(",Age,", ", Age ,", 1),
    "sep=;": "sep=;\n" + write(FEW, ";"),
    "sep=, and CRLF": "sep=,\r\n" + write(FEW, end="\r\n"),
    "sep=tab": "sep=\t\n" + write(FEW, "\t"),
    "sep=; in quotes, after a byte-order mark": '\ufeff"sep=;"\n' + write(FEW, ";"),
    "sep=^": "sep=^\n" + write(FEW, "^"),
    "a comment line": "# exported 2026-11-30 by core, banking\n" + write(FEW),
    "comment lines": "# exported; 2026-11-30\n#\n\n# two, three\n" + write(FEW, ";"),
    "UTF-16, little end first": b"\xff\xfe" + write(NOTED).encode("utf-16-le"),
    "UTF-16, big end first": b"\xfe\xff" + write(NOTED, "\t", "\r\n").encode("utf-16-be"),
    "another column with a name twice": write([row | {"x": "1"} for row in NOTED]).replace(",x", ",Note", 1),
    "columns in another order": write([dict(reversed(row.items())) for row in NOTED]),
    "a quote in the middle of a cell": write(NOTED).replace('"a ""b"" c"', 'a "b" c'),
    "text behind a quote": write(FEW).replace("Spain", '"Spa"in'),
    "0x1A in a cell that is passed over": write([row | {"Note": "\x1ax"} for row in FEW]),
    "0x1A at the start of a line": write([{"Note": "\x1ax"} | row for row in FEW]),
}  # fmt: skip
DIRTY: dict[str, tuple[str | bytes, int, tuple[Fault, ...]]] = {
    "too few fields": (insert(3, "1,2,3"), 2, SHORT),
    "too many fields": (insert(3, lines()[1] + ",x"), 2, LONG),
    "too few fields, behind blank lines": (insert(3, "\n\n1,2,3\n"), 2, SHORT),
    "0x1A in a line of too few fields": (insert(1, "\x1a,2,3"), 0, SHORT),
    "0x1A and a quote that does not close": (insert(len(FEW) + 1, '\x1a,"2,3'), len(FEW), OPEN),
    "a quote that does not close in the last line": (insert(len(FEW) + 1, '"' + lines()[1]), len(FEW), OPEN),
    "a comment in the middle": (insert(4, "# a, b, c"), 3, SHORT),
}
CSV_WAYS = ["HTTP", "HTTP in pieces", "score", "train", "train --stream"]


def put(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture(scope="module")
def few(client: TestClient) -> list[Outcome]:
    customers = [{f.name: say_in_json(f, row[f.name]) for f in SCHEMA.features} for row in FEW]
    return ways.by_json(client, customers)


@pytest.mark.parametrize("way", CSV_WAYS)
@pytest.mark.parametrize("form", TEXTS)
def test_every_form_of_a_csv_says_the_same(
    client: TestClient, scorer: Scorer, few: list[Outcome], tmp_path: Path, way: str, form: str
) -> None:
    path = put(tmp_path / "few.csv", TEXTS[form])
    assert compare(everywhere(client, scorer, path)[way](), few) == []


@pytest.mark.parametrize("way", CSV_WAYS)
@pytest.mark.parametrize("form", DIRTY)
def test_a_line_that_is_no_row_is_refused_alike(
    client: TestClient, scorer: Scorer, few: list[Outcome], tmp_path: Path, way: str, form: str
) -> None:
    text, row, fault = DIRTY[form]
    path = put(tmp_path / "few.csv", text)
    assert compare(everywhere(client, scorer, path)[way](), [*few[:row], fault, *few[row:]]) == []


@pytest.mark.parametrize("way", CSV_WAYS)
@pytest.mark.parametrize("form", ["plain", "quoted", "beside a cell that is not used", "among many rows"])
def test_a_cell_that_is_not_utf8_is_refused_alike(
    client: TestClient, scorer: Scorer, few: list[Outcome], tmp_path: Path, way: str, form: str
) -> None:
    rows = [PLAIN | {name: f"{cell}\0"} for name in SCHEMA.names for cell in ("", "7", PLAIN[name])]
    whole = [PLAIN] * (200 if form == "among many rows" else 1)
    extra = {"Note": "\0"} if form == "beside a cell that is not used" else {}
    text = write([row | extra for row in [*whole, *rows, *whole]], quoting=csv.QUOTE_ALL * (form == "quoted"))
    path = put(tmp_path / "latin.csv", text.encode().replace(b"\0", b"\xe9"))
    faults: list[Outcome] = [((name, NOT_UTF8),) for name in SCHEMA.names for _ in range(3)]
    expected = [few[0]] * len(whole) + faults + [few[0]] * len(whole)
    assert compare(everywhere(client, scorer, path)[way](), expected) == []


GERMAN: dict[str, tuple[str, str | None]] = {
    "decimal commas": (write(german(FEW), ";"), None),
    "decimal commas and thousands points": (write(german(FEW, thousands=True), ";"), None),
    "decimal commas, separated by tabs": (write(german(FEW), "\t"), None),
    "decimal commas in quotes, separated by commas": (write(german(FEW)), None),
    "decimal commas, said": (write(german(FEW), ";"), ","),
    "decimal commas and thousands points, said": (write(german(FEW, thousands=True), ";"), ","),
    "decimal points, said": (write(FEW, ";"), "."),
}


@pytest.mark.parametrize("way", CSV_WAYS)
@pytest.mark.parametrize("form", GERMAN)
def test_decimal_commas_are_read_where_the_table_is_written_so(
    client: TestClient, scorer: Scorer, few: list[Outcome], tmp_path: Path, way: str, form: str
) -> None:
    text, decimal = GERMAN[form]
    path = put(tmp_path / "few.csv", text)
    assert compare(everywhere(client, scorer, path, decimal)[way](), few) == []


@pytest.mark.parametrize("way", CSV_WAYS)
@pytest.mark.parametrize(
    ("cell", "income"), [("1.5", None), ("1250.75", None), (".5", None), ("1.250", 1250), ("7", 7)]
)
def test_a_later_decimal_point_in_a_column_of_decimal_commas_is_refused(
    client: TestClient, scorer: Scorer, tmp_path: Path, way: str, cell: str, income: float | None
) -> None:
    notes = ["", "x" * SAMPLE_BYTES, ""]  # the last row is behind those that show how numbers are written
    rows = [row | {"Note": note} for row, note in zip(german([PLAIN] * 3), notes, strict=True)]
    rows[2]["Income"] = cell
    path = put(tmp_path / "later.csv", write(rows, ";"))
    expected = ways.by_json(client, [CUSTOMER, CUSTOMER, CUSTOMER | {"Income": income}])
    if income is None:
        expected[2] = (("Income", "is not a number"),)
    assert compare(everywhere(client, scorer, path)[way](), expected) == []


@pytest.mark.parametrize("way", ["HTTP", "parquet", "arrow", "arrows", "train", "train --stream"])
def test_decimal_commas_in_columns_of_text_are_read_where_it_is_said(
    client: TestClient, scorer: Scorer, few: list[Outcome], tmp_path: Path, way: str
) -> None:
    table = ways.to_text_batch(german(FEW, thousands=True))
    form = way if way in ("arrow", "arrows") else "parquet"
    path = ways.write_table(table, tmp_path / f"few.{form}")
    found = {
        "HTTP": lambda: ways.by_http_arrow(client, table, ","),
        "train": lambda: ways.by_training(scorer, path, ","),
        "train --stream": lambda: ways.by_streamed_training(scorer, path, ","),
    }.get(way, lambda: ways.by_score(scorer, path, tmp_path, ","))()
    assert compare(found, few) == []


AMOUNTS = [None, *map(Decimal, ("0.00", "1.00", "2.50", "42.00", "-3.25"))]
"""Cells of a column of numbers; as categories, they have the names that JSON gives them."""


@pytest.mark.parametrize("way", ["HTTP", "parquet", "arrow", "arrows", "train", "train --stream"])
@pytest.mark.parametrize("kind", [pa.decimal128(12, 2), pa.float64()], ids=str)
@pytest.mark.parametrize("name", [feature.name for feature in SCHEMA.features])
def test_a_column_of_numbers_is_judged_as_in_json(
    client: TestClient, scorer: Scorer, tmp_path: Path, way: str, kind: pa.DataType, name: str
) -> None:
    columns = {other: pa.array([value] * len(AMOUNTS)) for other, value in (CUSTOMER | {"Exited": 0}).items()}
    table = pa.table(columns | {name: pa.array(AMOUNTS).cast(kind)})
    is_text = SCHEMA[name].is_text
    said = [None if one is None else f"{one.normalize():f}" if is_text else float(one) for one in AMOUNTS]
    path = ways.write_table(table, tmp_path / f"few.{way if way in ('arrow', 'arrows') else 'parquet'}")
    found = {
        "HTTP": lambda: ways.by_http_arrow(client, table),
        "train": lambda: ways.by_training(scorer, path),
        "train --stream": lambda: ways.by_streamed_training(scorer, path),
    }.get(way, lambda: ways.by_score(scorer, path, tmp_path))()
    assert compare(found, ways.by_json(client, [CUSTOMER | {name: one} for one in said])) == []


DOUBTFUL = [PLAIN | {"Balance": "50.000", "Income": "-3"}, PLAIN | {"Balance": "1250", "Income": "7"}]


@pytest.mark.parametrize("way", CSV_WAYS)
@pytest.mark.parametrize(("decimal", "balance"), [(None, None), (".", 50), (",", 50_000)])
def test_a_number_that_may_be_two_is_refused_unless_it_is_said_which(
    client: TestClient, scorer: Scorer, tmp_path: Path, way: str, decimal: str | None, balance: float | None
) -> None:
    path = put(tmp_path / "doubtful.csv", write(DOUBTFUL, ";"))
    said = [CUSTOMER | {"Balance": balance, "Income": -3}, CUSTOMER | {"Balance": 1250, "Income": 7}]
    expected = ways.by_json(client, said)
    if balance is None:
        expected[0] = (("Balance", "may have a decimal point or a point between thousands"),)
    assert compare(everywhere(client, scorer, path, decimal)[way](), expected) == []


CELL_COUNT, FILE_COUNT = 1072, 305


def test_the_number_of_cases_is_known() -> None:
    """Count what is compared: cells through every way, quoted and not, and files through every way of a CSV."""
    files = (len(TEXTS) + len(DIRTY) + len(GERMAN) + 7) * len(CSV_WAYS)
    print(f"{len(ROWS):,} cells x {2 * len(CSV_WAYS) + 7} ways, {files} files compared with JSON")  # noqa: T201  for -s
    assert (len(ROWS), files) == (CELL_COUNT, FILE_COUNT)
