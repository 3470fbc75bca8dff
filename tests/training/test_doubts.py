"""Columns that may be something else than they look like: refused, or told to the person who trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from bank import draw_customers, write_csv

from churn.errors import SchemaError, TableError
from training.dataset import load_dataset
from training.doubts import find_zeros, hint_at_separator
from training.schema_file import read_schema
from training.source import open_source
from training.streaming.inspect import inspect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from churn.schema import Schema

ROWS = 400
MODES = ("memory", "streamed")


def draw(**columns: Any) -> pd.DataFrame:
    return draw_customers(ROWS).astype(object).assign(**columns)


def choose(words: list[Any]) -> list[Any]:
    return np.random.default_rng(3).choice(np.array(words, dtype=object), ROWS).tolist()


def infer(path: Path, mode: str, **options: Any) -> tuple[Schema, tuple[str, ...], dict[str, str]]:
    """Find the schema of a table, as training in memory does, or as streamed training does."""
    if mode == "memory":
        dataset = load_dataset(path, **options)
        return dataset.schema, dataset.notes, dict(dataset.source["columns_dropped"])
    found = inspect(open_source(path), **options)
    return found.schema, found.notes, dict(found.dropped)


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("role", "name", "way"),
    [
        *(("identifier", name, "name another one with --id")
          for name in ("probability", "churn", "model_version", "warnings", "error", "row", "customers", "predictions",
                       "Probability", "two\nlines", "x" * 64, 'a"b', "a\\b", "__part")),
        *(("feature", name, "or leave it out with --drop")
          for name in ("customers", "two\nlines", "tab\tin", "\u200b", "x" * 256, "__index")),
        *(("label", name, "rename the column") for name in ("two\nlines", "x" * 256)),
    ],
)  # fmt: skip
def test_a_name_that_can_not_be_served_is_refused_before_training(
    tmp_path: Path, mode: str, role: str, name: str, way: str
) -> None:
    old = {"identifier": "CustomerId", "feature": "Age", "label": "Exited"}[role]
    path = write_csv(tmp_path / "bank.csv", draw().rename(columns={old: name}))
    told = {"identifier": {"identifier": name, "label": "Exited"}, "label": {"label": name}, "feature": {}}[role]
    with pytest.raises(TableError, match=f"bank.csv: (a|the) {role} can't be named ") as error:
        infer(path, mode, **told)
    assert way in str(error.value)
    assert "\n" not in str(error.value)
    if role == "feature":
        schema, _, _ = infer(path, mode, drop=[name])
        assert name not in schema.names


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pair", [("Age", "age"), ("Tenure", "TENURE")])
def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, mode: str, pair: tuple[str, str]) -> None:
    path = write_csv(tmp_path / "bank.csv", draw(**{pair[1]: choose([1, 2, 3])}))
    with pytest.raises(TableError, match=f"differ in upper and lower case alone.*: {', '.join(pair)}; rename one"):
        infer(path, mode)
    assert pair[0] in infer(path, mode, drop=[pair[1]])[0].names


@pytest.mark.parametrize("name", ["probability", "row", "a\\nb", ""])
def test_a_schema_file_is_held_to_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(f'label = "Exited"\nidentifier = "{name}"\n[features.Age]\nkind = "integer"\n', encoding="utf-8")
    with pytest.raises(SchemaError, match=r"schema\.toml: the identifier can't be named .*; rename the column"):
        read_schema(path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_and_categories_are_learned_in_one_unicode_form(tmp_path: Path, mode: str, form: str) -> None:
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    table = draw(Geography=choose([nfc, nfd, "tea"]), HasCrCard=choose(["yes", "no"]))
    path = write_csv(tmp_path / "bank.csv", table.rename(columns={"Tenure": nfd, "CustomerId": f"{nfd} no"}))
    typed = nfc if form == "NFC" else nfd
    schema, _, _ = infer(path, mode, identifier=f"{typed} no", keep=[typed])
    assert schema["Geography"].categories == (nfc, "tea")
    assert nfc in schema.names
    assert schema.identifier == f"{nfc} no"


# --- Codes and keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "words", [["00501", "10001", "60601"], ["007", "12", "0451"], ["01", "02", "12"], ["0", "1", "00"]]
)
def test_numbers_with_leading_zeros_are_a_category(tmp_path: Path, mode: str, words: list[str]) -> None:
    path = write_csv(tmp_path / "bank.csv", draw(Zip=choose(words)))
    schema, notes, _ = infer(path, mode)
    assert schema["Zip"].kind == "category"
    assert schema["Zip"].categories == tuple(sorted(words))
    assert any(note.startswith("Zip is taken for a category, not a number, because it is a code") for note in notes)


@pytest.mark.parametrize("mode", MODES)
def test_a_code_of_many_values_is_dropped_as_one(tmp_path: Path, mode: str) -> None:
    path = write_csv(tmp_path / "bank.csv", draw(Zip=choose([f"{number:05}" for number in range(500, 700)])))
    schema, _, dropped = infer(path, mode)
    assert "Zip" not in schema.names
    assert "it is a code with leading zeros" in dropped["Zip"]
    assert "--category takes it" in dropped["Zip"]


@pytest.mark.parametrize("mode", MODES)
def test_a_stray_leading_zero_makes_no_code(tmp_path: Path, mode: str) -> None:
    path = write_csv(tmp_path / "bank.csv", draw(Visits=["05", *choose([1, 20, 300])[1:]]))
    schema, notes, _ = infer(path, mode)
    assert schema["Visits"].kind == "integer"
    assert any("Visits is taken for a number, and 1 of its cells lose their leading zeros (05)" in one for one in notes)


@pytest.mark.parametrize(
    ("cells", "zeros", "is_code"),
    [
        (["00501", "10001"], ["00501"], True),
        (["0.5", "00.5"], [], False),
        (["-01", "02"], [], False),
        (["1", "0"], [], False),
        (["0", "00"], ["00"], True),
        (["01", "x"], [], False),
    ],
)
def test_which_cells_are_codes(cells: list[str], zeros: list[str], is_code: bool) -> None:
    assert find_zeros(pa.array(cells)) == (zeros, is_code)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["id", "ID", "branch_id", "BranchId", "account number", "Index"])
def test_a_key_that_repeats_is_told(tmp_path: Path, mode: str, name: str) -> None:
    path = write_csv(tmp_path / "bank.csv", draw(**{name: [row % 50 for row in range(ROWS)]}))
    schema, notes, _ = infer(path, mode)
    assert schema[name].kind == "integer"
    [note] = [note for note in notes if note.startswith(f"{name} is taken for a number")]
    for option in ("--drop", "--id", "--category"):
        assert f"{option} {name} " in note
    for options in ({"keep": [name]}, {"category": [name]}, {"drop": [name]}):
        assert not [note for note in infer(path, mode, **options)[1] if "is taken for" in note]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("gap", [False, True])
def test_numbers_may_be_taken_for_a_category(tmp_path: Path, mode: str, form: str, gap: bool) -> None:
    table = draw_customers(ROWS).assign(branch=[row % 3 + 1 for row in range(ROWS)])
    if gap:
        table["branch"] = table["branch"].astype(float).mask(table.index == 7)
    path = tmp_path / f"bank.{form}"
    table.to_parquet(path) if form == "parquet" else table.astype({"branch": "Int64"}).to_csv(path, index=False)
    schema, _, _ = infer(path, mode, category=["branch"])
    assert schema["branch"].kind == "category"
    assert schema["branch"].categories == ("1", "2", "3")
    assert schema["branch"].nullable == gap
    if mode == "memory":
        raw = load_dataset(path, category=["branch"]).raw[:, schema.names.index("branch")]
        assert np.isnan(raw[7]) == gap
        assert raw[:6].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("options", [{"drop": ["Age"]}, {"identifier": "Age"}])
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_csv(tmp_path / "bank.csv", draw())
    with pytest.raises(TableError, match="--category Age contradicts --drop or --id"):
        load_dataset(path, category=["Age"], **options)
    with pytest.raises(TableError, match="there is no column 'Agee' to use"):
        load_dataset(path, category=["Agee"])


# --- The label --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("separator", "word"), [("\t", "tabs"), ("|", "vertical bars"), (" ", "blanks"), (":", "colons")]
)
def test_a_table_of_one_column_is_separated_by_something_else(separator: str, word: str) -> None:
    hint = hint_at_separator([f"Age{separator}Exited"])
    assert (
        hint
        == f". That is a single column: are its fields separated by {word}? Write the file with commas or semicolons"
    )
    assert hint_at_separator(["Age", f"Exit{separator}ed"]) == ""
    assert hint_at_separator(["Age"]) == ""


def test_a_table_without_a_label_lists_its_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bank.csv", draw().rename(columns={"Exited": "Gone"}))
    with pytest.raises(TableError, match=r"name it with --label\. The columns are: RowNumber, CustomerId, .*, Gone$"):
        load_dataset(path)


# --- Numbers in formats that are not read -----------------------------------------------------------------------------


def format_number(number: float, thousands: str, point: str) -> str:
    return f"{number:,.2f}".replace(",", "_").replace(".", point).replace("_", thousands)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "write",
    [
        *(pytest.param(lambda number, mark=mark: format_number(number, mark, ","), id=f"U+{ord(mark):04X}")
          for mark in " \u00a0\u202f"),
        pytest.param(lambda number: format_number(number, "'", "."), id="apostrophe"),
        pytest.param(lambda number: format_number(number, "\u2019", "."), id="right quote"),
        pytest.param(lambda number: format_number(number, ",", "."), id="comma before point"),
        pytest.param(lambda number: f"{number:,.0f}", id="commas between thousands"),
        pytest.param(lambda number: format_number(number, ".", ",") + " \u20ac", id="currency behind"),
        pytest.param(lambda number: f"${number:.2f}", id="currency before"),
        pytest.param(lambda number: f"{number:.1f}%", id="percent"),
        pytest.param(lambda number: f"{number:.2f}-", id="minus at the end"),
        pytest.param(lambda number: f"{number:.2f}".replace(".", ",.".__getitem__(int(number) % 2)), id="two marks"),
    ],
)  # fmt: skip
def test_numbers_in_a_format_that_is_not_read_are_refused_and_not_taken_for_text(
    tmp_path: Path, mode: str, write: Callable[[float], str]
) -> None:
    amounts = [write(1000.25 + 731 * row) for row in range(ROWS)]
    path = write_csv(tmp_path / "bank.csv", draw(Amount=amounts))
    with pytest.raises(TableError, match=r"Amount has numbers in a format that is not read: .* \(line 2\)") as refused:
        infer(path, mode)
    assert "--drop Amount" in str(refused.value)
    assert "--decimal ," in str(refused.value)
    schema, _, dropped = infer(path, mode, drop=["Amount"])
    assert dropped["Amount"] == "you asked for it"
    assert all(feature.name != "Amount" for feature in schema.features)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_position_of_such_a_number_is_that_in_the_file(tmp_path: Path, mode: str, form: str) -> None:
    """Rows that are left out, and lines that are no rows, are counted."""
    rows = draw(Amount=[f"{1000 + row:,}" for row in range(ROWS)], Country=["Mars"] * 3 + ["Earth"] * (ROWS - 3))
    path = tmp_path / f"bank.{form}"
    if form == "parquet":
        rows.to_parquet(path)
    else:
        path.write_text("# two comments\n# above\n\n" + write_csv(tmp_path / "plain.csv", rows).read_text())
    where = r"'1,003' \(line 8\), '1,004' \(line 9\)" if form == "csv" else r"'1,003' \(row 4\), '1,004' \(row 5\)"
    with pytest.raises(TableError, match=where):
        infer(path, mode, drop_rows=["Country=Mars"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Band", ["0-10", "10-20", "65+"]),
        ("Plan", ["12 months", "24 months", "1.2.3"]),
        ("Code", ["12 345", "AB 345", "CD 111"]),
        ("AccountNumber", ["123 456 789", "987 654 321"]),
        ("Tariff", ["1.234,56", "12,5", "0,25"]),
    ],
)
def test_other_columns_are_not_taken_for_numbers_in_a_strange_format(
    tmp_path: Path, mode: str, name: str, words: list[str]
) -> None:
    infer(write_csv(tmp_path / "bank.csv", draw(**{name: choose(words)})), mode)
