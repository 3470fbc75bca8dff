"""What the columns of a table are taken for: dates, categories of many levels, codes, keys and rows of numbers."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bank import draw_customers, write_csv

from churn.drift import Bins
from churn.errors import SchemaError, TableError
from churn.feature import Feature
from churn.schema import Schema
from training.dataset import Dataset, load_dataset
from training.histograms import count_features
from training.levels import choose_levels, find_objection
from training.schema_file import read_schema
from training.streaming.spread import Split, open_streamed

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 2000
DRAW = np.random.default_rng(7)
DAYS = [date(2010, 1, 1) + timedelta(days=int(number)) for number in DRAW.integers(0, 1500, ROWS)]


def load(tmp_path: Path, column: Any, name: str = "extra", **options: Any) -> Dataset:
    """Load customers with one more column."""
    table = draw_customers(ROWS).assign(**{name: column})
    return load_dataset(write_csv(tmp_path / "bank.csv", table), **options)


def written(form: str) -> list[str]:
    return [day.strftime(form) for day in DAYS]


def notes_on(dataset: Dataset, name: str) -> str:
    return " ".join(note for note in dataset.notes if note.startswith(f"{name} "))


# --- Dates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    ["%d-%m-%y", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d", "%d-%b-%Y", "%b %d, %Y", "%d/%m/%Y %H:%M"],
)
def test_a_column_of_dates_is_found_in_every_form(tmp_path: Path, form: str) -> None:
    dataset = load(tmp_path, written(form))
    feature = dataset.schema["extra"]
    expected = form.removesuffix(" %H:%M")
    assert (feature.kind, feature.format) == ("date", "" if expected == "%Y-%m-%d" else expected)
    days = [(day - date(1970, 1, 1)).days for day in DAYS]
    assert dataset.raw[:, -1].tolist() == days
    assert (feature.trained_minimum, feature.trained_maximum) == (min(days), max(days))


def test_a_date_with_gaps_is_nullable_and_one_with_a_wrong_cell_is_refused_by_line(tmp_path: Path) -> None:
    texts = written("%d/%m/%Y")
    texts[5] = ""
    assert load(tmp_path, texts).schema["extra"].nullable
    assert np.isnan(load(tmp_path, texts).raw[5, -1])
    texts[8] = "31/02/2012"
    with pytest.raises(
        TableError, match="line 10, column extra: '31/02/2012' is not a date; allowed: a date as dd/mm/y"
    ):
        load(tmp_path, texts)


def test_days_and_months_that_could_change_places_are_decided_by_other_columns_or_not_at_all(tmp_path: Path) -> None:
    unclear = [f"{1 + day.day % 12:02}/{day.month:02}/{day.year}" for day in DAYS]
    dataset = load(tmp_path, unclear)
    assert "extra is dropped: its dates can be read as dd/mm/yyyy or mm/dd/yyyy" in notes_on(dataset, "extra")
    clear = draw_customers(ROWS).assign(extra=unclear, other=written("%m/%d/%Y"))
    dataset = load_dataset(write_csv(tmp_path / "bank.csv", clear))
    assert dataset.schema["extra"].format == "%m/%d/%Y"


def test_dates_in_a_streamed_table_and_in_parquet_are_the_same(tmp_path: Path) -> None:
    dataset = load(tmp_path, written("%d/%m/%Y"))
    with open_streamed(tmp_path / "bank.csv", Split(0.2, 0.1, 0), scratch=tmp_path) as table:
        assert table.sample.schema["extra"] == dataset.schema["extra"]
        assert np.isin(table.sample.raw[:, -1], dataset.raw[:, -1]).all()
    path = tmp_path / "bank.parquet"
    draw_customers(ROWS).assign(extra=DAYS).to_parquet(path)
    from_parquet = load_dataset(path)
    assert from_parquet.schema["extra"].kind == "date"
    assert from_parquet.raw[:, -1].tolist() == dataset.raw[:, -1].tolist()


# --- Categories of many levels ---------------------------------------------------------------------------------------


def cities(share: float) -> list[str]:
    """Draw 150 cities, of which the first six have leavers more often by a share, and many have few customers."""
    left = draw_customers(ROWS).Exited.to_numpy()
    draw = np.random.default_rng(3)
    common = draw.integers(0, 30, ROWS)
    common = np.where((left == 1) & (draw.random(ROWS) < share), draw.integers(0, 6, ROWS), common)
    return [f"city {number}" for number in np.where(draw.random(ROWS) < 0.2, draw.integers(30, 150, ROWS), common)]


def test_rare_levels_are_pooled_and_new_ones_accepted(tmp_path: Path) -> None:
    words = cities(0.5)
    dataset = load(tmp_path, words)
    feature, counts = dataset.schema["extra"], pd.Series(words).value_counts()
    assert feature.open
    assert set(feature.categories) == set(counts[counts >= 10].index)
    other = len(feature.categories)
    expected = [float(feature.categories.index(w)) if w in feature.categories else other for w in words]
    assert dataset.raw[:, -1].tolist() == expected
    assert f"{other} are listed; the other {len(counts) - other} are pooled as one" in notes_on(dataset, "extra")
    assert feature.encode("a city that nobody has seen") == other
    with open_streamed(tmp_path / "bank.csv", Split(0.2, 0.1, 0), scratch=tmp_path) as table:
        assert table.sample.schema["extra"] == feature


def test_many_levels_without_a_meaning_are_left_out_and_category_takes_them(tmp_path: Path) -> None:
    dataset = load(tmp_path, cities(0.0))
    assert "do not differ in the share of leavers beyond chance" in notes_on(dataset, "extra")
    assert load(tmp_path, cities(0.0), category=["extra"]).schema["extra"].open


def test_a_column_that_names_the_customer_is_no_category(tmp_path: Path) -> None:
    names = [f"name {number}" for number in range(ROWS)]
    names[:50] = names[50:100]
    assert "so it names the customer" in notes_on(load(tmp_path, names), "extra")


def test_few_levels_stay_closed(tmp_path: Path) -> None:
    feature = load(tmp_path, [f"plan {row % 4}" for row in range(ROWS)]).schema["extra"]
    assert (feature.open, len(feature.categories)) == (False, 4)


@pytest.mark.parametrize(
    ("counts", "listed", "is_open"),
    [
        ({"a": 100, "b": 1}, ("a", "b"), False),
        ({f"{n:02}": 10 + n for n in range(40)}, tuple(f"{n:02}" for n in range(39, -1, -1)), True),
        ({f"{n:02}": n for n in range(1, 40)}, tuple(f"{n:02}" for n in range(39, 9, -1)), True),
        ({f"{n:04}": 10 for n in range(1200)}, tuple(f"{n:04}" for n in range(1000)), True),
        ({str(n): 2 for n in range(20)}, (), True),
    ],
)
def test_levels_are_listed_by_their_rows(counts: dict[str, int], listed: tuple[str, ...], is_open: bool) -> None:
    levels = choose_levels(counts)
    assert (levels.listed, levels.is_open) == (listed, is_open)
    assert levels.share == pytest.approx(sum(counts[word] for word in listed) / sum(counts.values()))


def test_words_that_are_rare_are_told_from_words_that_say_nothing() -> None:
    words = [f"w{row % 120}" for row in range(2400)]
    column = pa.array(words)
    left = (np.arange(2400) % 7 == 0).astype(np.float64)
    counts = dict(Counter(words))
    assert "beyond chance" in (find_objection(counts, column, left) or "")
    left[[word in ("w1", "w2", "w3") for word in words]] = 1.0
    assert find_objection(counts, column, left) is None
    assert find_objection(counts, column, np.full(2400, np.nan)) is not None


# --- Codes, keys and numbers of rows ---------------------------------------------------------------------------------

AREAS = DRAW.choice([408, 415, 510, 312], ROWS)
CODES: dict[str, tuple[str, Any, str]] = {
    "area code": ("area code", AREAS, "its name; every value has 3 digits"),
    "branch": ("BranchCode", DRAW.integers(1, 300, ROWS), "its name"),
    "zip": (
        "Zipcode",
        DRAW.integers(10_000, 99_999, 40)[DRAW.integers(0, 40, ROWS)],
        "its name; every value has 5 digits",
    ),
}


@pytest.mark.parametrize("name", CODES)
def test_a_code_is_named_and_category_decides(tmp_path: Path, name: str) -> None:
    column, values, says = CODES[name]
    dataset = load(tmp_path, values, column)
    assert f"{column} is taken for a number, and may be a code ({says}" in notes_on(dataset, column)
    taken = load(tmp_path, values, column, category=[column])
    assert taken.schema[column].kind == "category"
    assert taken.schema[column].encode(str(values[0])) == taken.raw[0, -1]
    assert "may be a code" not in notes_on(taken, column)


def test_a_code_without_such_a_name_is_known_by_its_length_and_its_lack_of_order(tmp_path: Path) -> None:
    left = draw_customers(ROWS).Exited.to_numpy()
    values = np.where(left == 1, np.resize([500, 500, 300, 700], ROWS), np.resize([300, 700], ROWS))
    found = notes_on(load(tmp_path, values, "wert"), "wert")
    assert "every value has 3 digits; the share of leavers differs between its values, but in no order" in found


@pytest.mark.parametrize(("name", "is_code"), [("CityTier", False), ("BranchCount", False), ("Branch no 2", True)])
def test_a_word_for_codes_counts_at_the_end_of_a_name(tmp_path: Path, name: str, is_code: bool) -> None:
    assert ("may be a code (its name" in notes_on(load(tmp_path, DRAW.integers(1, 4, ROWS), name), name)) == is_code


@pytest.mark.parametrize("name", ["CreditScore", "Age", "Tenure", "NumOfProducts"])
def test_a_quantity_is_no_code(tmp_path: Path, name: str) -> None:
    assert "code" not in notes_on(load_dataset(write_csv(tmp_path / "bank.csv", draw_customers(ROWS))), name)


@pytest.mark.parametrize(
    "numbers",
    [DRAW.permutation(ROWS), 5000 + DRAW.permutation(ROWS), DRAW.permutation(int(ROWS * 1.25))[:ROWS]],
    ids=["shuffled", "from 5000", "a part of a larger table"],
)
def test_shuffled_numbers_of_rows_are_left_out(tmp_path: Path, numbers: Any) -> None:
    assert "it is different in every row" in notes_on(load(tmp_path, numbers, "Unnamed: 0"), "Unnamed: 0")


def test_a_key_that_is_left_out_is_offered_as_the_identifier(tmp_path: Path) -> None:
    table = draw_customers(ROWS).rename(columns={"CustomerId": "Client key", "RowNumber": "Unnamed: 0"})
    path = write_csv(tmp_path / "bank.csv", table)
    (offer,) = [note for note in load_dataset(path).notes if "identifier" in note]
    assert "scores are numbered by row; --id 'Client key' names one." in offer
    with open_streamed(path, Split(0.2, 0.2, 0)) as streamed:
        assert offer in streamed.sample.notes
    named = load_dataset(path, identifier="Client key")
    assert named.source["has_identifier"]
    assert not any("names one" in note for note in named.notes)


def test_numbers_that_hardly_repeat_are_named(tmp_path: Path) -> None:
    numbers = DRAW.integers(0, 10**9, ROWS)
    numbers[:5] = numbers[5:10]
    found = notes_on(load(tmp_path, numbers, "reference"), "reference")
    assert "may name the customer (1,995 different values in 2,000 rows): --drop reference leaves it out" in found


# --- Repeated rows ---------------------------------------------------------------------------------------------------


def test_repeated_rows_are_counted_with_and_without_an_identifier(tmp_path: Path) -> None:
    table = draw_customers(300).drop(columns=["RowNumber", "Surname"])
    table = pd.concat([table, table[:20]], ignore_index=True)
    with_name = load_dataset(write_csv(tmp_path / "a.csv", table))
    assert "20 rows repeat an earlier one exactly and are dropped." in with_name.notes
    assert len(with_name.labels) == 300
    table.loc[300:, "CustomerId"] += 10_000_000
    alike = load_dataset(write_csv(tmp_path / "b.csv", table))
    assert "20 customers are like an earlier one in all but CustomerId; they are kept." in alike.notes
    nameless = load_dataset(write_csv(tmp_path / "c.csv", table.drop(columns="CustomerId")))
    assert len(nameless.labels) == 320
    assert any(note.startswith("20 rows repeat an earlier one; they are kept") for note in nameless.notes)


# --- A schema file that leaves the levels to the table ---------------------------------------------------------------


def test_a_category_without_a_list_gets_the_levels_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    path.write_text(
        'label = "Exited"\n[features.Geography]\nkind = "category"\n'
        '[features.extra]\nkind = "category"\nnullable = true\n'
        '[features.Tenure]\nkind = "category"\n'
    )
    schema = read_schema(path)
    assert schema.unlisted == ("Geography", "extra", "Tenure")
    dataset = load(tmp_path, cities(0.5), schema=schema)
    assert dataset.schema["Geography"].categories == ("France", "Germany", "Spain")
    assert dataset.schema["extra"].open
    assert dataset.schema["extra"].nullable
    assert set(dataset.schema["Tenure"].categories) == {str(number) for number in range(11)}
    split = Split(0.2, 0.1, 0)
    with open_streamed(tmp_path / "bank.csv", split, scratch=tmp_path, schema=schema) as table:
        assert table.sample.schema == dataset.schema


def test_a_schema_file_with_an_unknown_form_of_dates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    path.write_text('label = "Exited"\n[features.since]\nkind = "date"\nformat = "dd/mm/yyyy"\n')
    with pytest.raises(SchemaError, match="feature since: format requires kind 'date' and one of %Y-%m-%d"):
        read_schema(path)


def test_a_category_that_was_never_listed_is_no_model() -> None:
    assert Feature("x", "category").categories == ()


def test_drift_is_told_by_the_commonest_levels_of_an_open_category() -> None:
    feature = Feature("city", "category", categories=tuple(f"c{number}" for number in range(200)), open=True)
    schema = Schema((feature,), "left")
    raw = np.append(np.repeat(np.arange(201.0), 2), np.nan)[:, None]
    histogram = count_features(schema, raw)["city"]
    assert histogram["values"] == [*feature.categories[:49], "(other)"]
    assert histogram["counts"] == [2] * 49 + [2 * (201 - 49)]
    bins = Bins("city", histogram)
    assert bins.count(raw[:-1, 0]).tolist() == histogram["counts"]
