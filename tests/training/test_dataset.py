"""Tables as users bring them: each is trained on, or refused with a message a person can act on."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bank import FEATURES, REAL_TABLE, draw_customers, with_gaps, write_csv

from churn.errors import TableError
from churn.feature import Feature
from churn.schema import Schema
from training.customers import read_customers
from training.dataset import Dataset, load_dataset
from training.schema_file import read_schema, write_schema_file
from training.streaming.spread import Split, open_streamed

if TYPE_CHECKING:
    from pathlib import Path

Change = Callable[[pd.DataFrame], Any]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Dataset]:
    """Write 200 customers, changed, and load them."""

    def load(change: Change | None = None, *, rows: int = 200, form: str = "csv", **options: Any) -> Dataset:
        table = draw_customers(rows).astype(object)
        changed = change(table) if change else None
        table = table if changed is None else changed
        path = tmp_path / f"bank.{form}"
        if form == "parquet":
            table.infer_objects().to_parquet(path)
        else:
            write_csv(path, table)
        return load_dataset(path, **options)

    return load


def refusal(load: Callable[..., Dataset], change: Change, **options: Any) -> str:
    with pytest.raises(TableError) as error:
        load(change, **options)
    return str(error.value)


def set_cells(column: str, cells: dict[int, Any]) -> Change:
    """Return a change of some cells, by line of the file."""

    def change(table: pd.DataFrame) -> None:
        for line, cell in cells.items():
            table.loc[line - 2, column] = cell

    return change


def kinds(dataset: Dataset) -> dict[str, str]:
    return {feature.name: feature.kind for feature in dataset.schema.features}


# --- What is recognised without a word -------------------------------------------------------------------------------


def test_the_bank_table_is_recognised_without_any_option(load: Any) -> None:
    dataset = load()
    assert kinds(dataset) == {
        "CreditScore": "integer",
        "Geography": "category",
        "Gender": "category",
        "Age": "integer",
        "Tenure": "integer",
        "Balance": "number",
        "NumOfProducts": "integer",
        "HasCrCard": "flag",
        "IsActiveMember": "flag",
        "EstimatedSalary": "number",
    }
    assert (dataset.schema.label, dataset.schema.identifier) == ("Exited", "CustomerId")
    assert dataset.schema["Geography"].categories == ("France", "Germany", "Spain")
    assert dataset.schema["Age"].unit == "years"
    assert dataset.schema["Age"].maximum == 130
    assert not any(feature.nullable for feature in dataset.schema.features)
    assert [note.split(" is dropped")[0] for note in dataset.notes] == ["RowNumber", "Surname"]


def test_the_raw_matrix_and_labels_are_the_tables(load: Any) -> None:
    table = draw_customers(200)
    dataset = load()
    expected = table[list(FEATURES)].assign(
        Geography=table.Geography.map({"France": 0, "Germany": 1, "Spain": 2}), Gender=(table.Gender == "Male")
    )
    assert dataset.raw.tolist() == expected.to_numpy(dtype=float).tolist()
    assert dataset.labels.tolist() == table.Exited.tolist()
    assert (dataset.schema["Age"].trained_minimum, dataset.schema["Age"].trained_maximum) == (
        table.Age.min(),
        table.Age.max(),
    )


def test_where_the_rows_went_is_kept(load: Any) -> None:
    source = load().source
    assert {key: source[key] for key in ("file", "rows", "rows_used", "rows_with_faults", "rows_repeated")} == {
        "file": "bank.csv",
        "rows": 200,
        "rows_used": 200,
        "rows_with_faults": 0,
        "rows_repeated": 0,
    }
    assert source["positive_share"] == pytest.approx(draw_customers(200).Exited.mean())
    assert set(source["columns_dropped"]) == {"RowNumber", "Surname"}


def test_the_public_table_is_recognised_without_any_option(public_table: Path) -> None:
    dataset = load_dataset(public_table)
    assert dataset.schema.names == FEATURES
    if public_table == REAL_TABLE:
        assert dataset.labels.sum() == 2037
        assert dataset.source["sha256"] == "ee2a5c9d8daf3aed0d91c4d883a84ebb77d271447bebc0f0c80aafb0f288ceab"
    assert set(dataset.source["columns_dropped"]) == {"RowNumber", "Surname"}


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ";"),
        lambda text: "\ufeff" + text.replace(",", ";").replace("\n", "\r\n"),
        lambda text: text.replace("Name1,", '"Name, 1",').replace("Name2,", '"Name\n2",'),
    ],
    ids=["CRLF", "BOM", "semicolon", "as Excel writes it", "quoted"],
)
def test_the_same_table_in_another_form_is_the_same_dataset(load: Any, tmp_path: Path, write: Any) -> None:
    expected = load()
    path = tmp_path / "other.csv"
    path.write_bytes(write((tmp_path / "bank.csv").read_text()).encode())
    dataset = load_dataset(path)
    assert dataset.schema == expected.schema
    assert dataset.raw.tolist() == expected.raw.tolist()
    assert dataset.labels.tolist() == expected.labels.tolist()


# --- Cells that can't be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("Age", "?", "line 7, column Age: '?' is not a number; allowed: a whole number from 0 to 130"),
        ("Balance", "?", "line 7, column Balance: '?' is not a number; allowed: a number of 0 or more"),
        ("HasCrCard", "?", "line 7, column HasCrCard: '?' is not a flag; allowed: 0, 1, true, false, yes or no"),
        ("Gender", "?", "line 7, column Gender: '?' is an unknown category; allowed: one of Female, Male"),
        ("Exited", "?", "line 7, column Exited: the label is missing"),
        ("Exited", "", "line 7, column Exited: the label is missing"),
        ("Age", -5, "line 7, column Age: '-5' is too small; allowed: a whole number from 0 to 130"),
        ("Age", "forty", "line 7, column Age: 'forty' is not a number"),
        ("Balance", "inf", "line 7, column Balance: 'inf' is not a finite number"),
        ("Balance", "1e400", "line 7, column Balance: '1e400' is not a finite number"),
        ("EstimatedSalary", "9" * 30, "line 7, column EstimatedSalary: '" + "9" * 30 + "' is beyond 1e+15"),
    ],
)
def test_a_cell_that_can_not_be_used_is_refused_with_line_and_column(
    load: Any, column: str, cell: object, says: str
) -> None:
    message = refusal(load, set_cells(column, {7: cell}))
    assert "bank.csv: 1 cells or lines can't be used (--on-bad-row drop leaves their rows out):\n" in message
    assert says in message


def test_a_parquet_row_at_fault_is_named_by_its_number(load: Any) -> None:
    assert "line 6, column Balance: 'inf' is not a finite number" in refusal(
        load, set_cells("Balance", {7: np.inf}), form="parquet"
    )


def test_many_question_marks_do_not_turn_numbers_into_categories(load: Any) -> None:
    message = refusal(load, set_cells("Age", dict.fromkeys(range(2, 80), "?")))
    assert "78 cells or lines can't be used" in message
    assert "'?' is not a number" in message
    assert "… and 68 more" in message


def test_a_semicolon_for_a_comma_is_refused_by_line(load: Any, tmp_path: Path) -> None:
    load()
    path = tmp_path / "bank.csv"
    lines = path.read_text().split("\n")
    lines[6] = lines[6].replace(",", ";", 1)
    lines[9] += ",more"
    path.write_text("\n".join(lines))
    with pytest.raises(TableError) as error:
        load_dataset(path)
    assert "line 7: has 13 fields; allowed: 14 fields" in str(error.value)
    assert "line 10: has 15 fields; allowed: 14 fields" in str(error.value)


def test_bad_rows_are_dropped_counted_and_listed_if_asked(tmp_path: Path) -> None:
    table = draw_customers(200).astype(object)
    for column, line, cell in (("Age", 7, "?"), ("Age", 9, -1), ("Gender", 7, "?"), ("Exited", 12, "")):
        table.loc[line - 2, column] = cell
    path = write_csv(tmp_path / "bank.csv", table)
    with path.open("a") as file:
        file.write("too,short\n")
    dataset = load_dataset(path, on_bad_row="drop")
    assert dataset.source["rows"] == 201
    assert dataset.source["rows_with_faults"] == 4
    assert dataset.source["rows_used"] == len(dataset.raw) == len(dataset.labels) == 197
    kept = draw_customers(200).drop([5, 7, 10])
    assert dataset.raw[:, 3].tolist() == kept.Age.tolist()
    note = dataset.notes[-1]
    assert note.startswith("4 rows are dropped for 5 faults:\n")
    assert "  line 7, column Age: '?' is not a number" in note
    assert "  line 12, column Exited: the label is missing" in note
    assert "  line 202: has 2 fields; allowed: 14 fields" in note


def test_blank_cells_make_a_feature_nullable(load: Any) -> None:
    table = with_gaps(draw_customers(200))
    dataset = load(lambda _: table)
    assert [feature.name for feature in dataset.schema.features if feature.nullable] == [
        "Geography",
        "Balance",
        "HasCrCard",
    ]
    assert kinds(dataset)["HasCrCard"] == "flag"
    assert kinds(dataset)["Geography"] == "category"
    for name in ("Geography", "Balance", "HasCrCard"):
        position = dataset.schema.names.index(name)
        assert np.isnan(dataset.raw[:, position]).tolist() == table[name].isna().tolist()
    assert "Missing values are imputed and marked, in 3 columns: Geography, Balance, HasCrCard." in dataset.notes


def test_a_flag_with_gaps_is_a_flag_though_pandas_wrote_its_ones_as_floats(load: Any) -> None:
    def change(table: pd.DataFrame) -> None:
        table["HasCrCard"] = table["HasCrCard"].astype(float).mask(table.index % 5 == 0)

    assert kinds(load(change))["HasCrCard"] == "flag"
    assert kinds(load(change, form="parquet"))["HasCrCard"] == "flag"


@pytest.mark.parametrize("words", [("No", "Yes"), ("FALSE", "TRUE"), ("no", "yes"), (False, True)])
def test_flags_as_words_are_flags(load: Any, words: tuple[object, object]) -> None:
    def change(table: pd.DataFrame) -> None:
        table["HasCrCard"] = table["HasCrCard"].map(lambda flag: words[flag])

    for form in ("csv", "parquet"):
        dataset = load(change, form=form)
        assert kinds(dataset)["HasCrCard"] == "flag"
        assert dataset.raw[:, 7].tolist() == draw_customers(200).HasCrCard.tolist()


def test_numbers_with_spaces_around_them_are_numbers(load: Any) -> None:
    def change(table: pd.DataFrame) -> None:
        table["Age"] = table["Age"].map(" {} ".format)

    for form in ("csv", "parquet"):
        dataset = load(change, form=form)
        assert kinds(dataset)["Age"] == "integer"
        assert dataset.raw[:, 3].tolist() == draw_customers(200).Age.tolist()


def test_a_column_that_holds_negative_numbers_has_no_bound(load: Any) -> None:
    def change(table: pd.DataFrame) -> None:
        table["Saldo"] = np.linspace(-5, 5, len(table)) ** 3

    assert load(change).schema["Saldo"].minimum is None


# --- The label -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("No", "Yes"), ("Stayed", "Exited"), ("0.0", "1.0"), (" false", "TRUE ")])
def test_a_label_as_text_is_understood(load: Any, words: tuple[str, str]) -> None:
    dataset = load(lambda table: table.assign(Exited=table.Exited.map(lambda left: words[left])))
    assert dataset.labels.tolist() == draw_customers(200).Exited.tolist()


@pytest.mark.parametrize("kind", [bool, float, "Int64", "category"])
def test_a_typed_label_is_understood(load: Any, kind: Any) -> None:
    dataset = load(lambda table: table.assign(Exited=table.Exited.astype(int).astype(kind)), form="parquet")
    assert dataset.labels.tolist() == draw_customers(200).Exited.tolist()


def test_a_label_whose_words_are_not_plain_needs_a_word_from_the_user(load: Any) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(Exited=table.Exited.map(lambda left: ("Bleibt", "Geht")[left]))

    message = refusal(load, change)
    assert "bank.csv: label Exited is 'Bleibt' or 'Geht': say which one means leaving with --positive" in message
    assert load(change, positive="Geht").labels.tolist() == draw_customers(200).Exited.tolist()
    assert load(change, positive="bleibt").labels.tolist() == (1 - draw_customers(200).Exited).tolist()
    assert "--positive 'no' is not one of its values: 'Bleibt', 'Geht'" in refusal(load, change, positive="no")


def test_a_missing_label_is_neither_class(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("a,left\n1,0\n2,?\n3,1\n4,\n")
    found = read_customers(path)
    assert repr(found.labels.tolist()) == repr([0.0, np.nan, 1.0, np.nan])
    assert [fault.line for fault in found.faults] == [3, 5]


def test_a_label_left_or_stayed_is_plain(load: Any) -> None:
    dataset = load(lambda table: table.assign(Exited=table.Exited.map(lambda left: ("stayed", "left")[left])))
    assert dataset.labels.tolist() == draw_customers(200).Exited.tolist()


def test_a_label_with_three_values_is_refused_with_their_lines(load: Any) -> None:
    message = refusal(load, set_cells("Exited", {9: 2}))
    assert "bank.csv: label Exited has 3 values, and two are allowed: '0' (line " in message
    assert "'2' (line 9)" in message


def test_a_label_with_many_values_names_a_few(load: Any) -> None:
    message = refusal(load, lambda table: table, label="Tenure")
    assert "label Tenure has 11 values" in message
    assert ", …\n" in message


def test_a_label_with_one_value_or_none_is_refused(load: Any) -> None:
    assert "label Exited has one value ('0')" in refusal(load, lambda table: table.assign(Exited=0))
    assert "label Exited is empty" in refusal(load, lambda table: table.assign(Exited=""))


def test_too_few_customers_of_a_class_are_refused(load: Any) -> None:
    message = refusal(load, lambda table: table.assign(Exited=[1] * 9 + [0] * 191))
    assert message.endswith("bank.csv: only 9 usable customers left; at least 10 of each class are needed")
    assert load(lambda table: table.assign(Exited=[1] * 10 + [0] * 190)).labels.sum() == 10


def test_a_missing_label_column_is_refused_with_the_columns_there_are(load: Any) -> None:
    message = refusal(load, lambda table: table.rename(columns={"Exited": "Weg"}))
    assert "no column looks like the label; name it with --label. The columns are: RowNumber, CustomerId" in message
    message = refusal(load, lambda table: table, label="Gone")
    assert "there is no column 'Gone'; found: RowNumber" in message
    message = refusal(load, lambda table: table.assign(churn=table.Exited))
    assert "several columns look like the label: Exited, churn; name it with --label" in message


# --- Columns that must stay out --------------------------------------------------------------------------------------


def dropped(dataset: Dataset, name: str) -> str:
    assert name not in dataset.schema.names
    assert f"{name} is dropped: {dataset.source['columns_dropped'][name]}." in dataset.notes
    return str(dataset.source["columns_dropped"][name])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: 7, "it is constant (7)"),
        (lambda _: "", "every cell is empty"),
        (lambda _: ["x"] * 50 + [""] * 150, "it holds one value (x) or nothing"),
        (lambda _: [f"text {row}" for row in range(200)], "it is different in every row"),
        (lambda _: range(5000, 5200), "it is different in every row"),
        (
            lambda _: [f"text {row % 150}" for row in range(200)],
            "it has 150 different values, none of them in 10 rows or more",
        ),
    ],
    ids=[
        "constant",
        "empty",
        "one value",
        "text key",
        "whole key",
        "rare values",
    ],
)
def test_a_column_that_says_nothing_or_too_much_is_dropped_with_a_sentence(load: Any, make: Any, says: str) -> None:
    assert says in dropped(load(lambda table: table.assign(Extra=make(table))), "Extra")


def test_a_measurement_that_never_repeats_is_no_key(load: Any) -> None:
    assert kinds(load(lambda table: table.assign(Extra=np.linspace(0.5, 9.7, 200) ** 3)))["Extra"] == "number"


def test_a_whole_number_that_never_repeats_is_a_key_only_if_it_counts_or_is_called_so(load: Any) -> None:
    assert kinds(load(lambda table: table.assign(Steps=np.arange(200) ** 2)))["Steps"] == "integer"
    for name in ("account_no", "BranchId", "Account Number"):
        dropped(load(lambda table, name=name: table.assign(**{name: np.arange(200) ** 2})), name)


def test_a_user_may_keep_and_drop_columns(load: Any) -> None:
    dataset = load(keep=["RowNumber"], drop=["Age"])
    assert "RowNumber" in dataset.schema.names
    assert dropped(dataset, "Age") == "you asked for it"


@pytest.mark.parametrize("option", [{"keep": ["Agee"]}, {"drop": ["Agee"]}, {"identifier": "Agee"}])
def test_an_option_that_names_no_column_is_refused(load: Any, option: dict[str, Any]) -> None:
    assert "there is no column 'Agee' to use; found: RowNumber" in refusal(load, lambda table: table, **option)


def test_a_table_with_nothing_to_learn_from_is_refused(load: Any) -> None:
    message = refusal(load, lambda table: table[["RowNumber", "CustomerId", "Exited"]].assign(One=1))
    assert "no column is left to learn from: RowNumber: it is different in every row" in message
    assert "One: it is constant (1)" in message


def test_a_column_under_the_services_own_name_is_refused(load: Any) -> None:
    message = refusal(load, lambda table: table.rename(columns={"Age": "customers"}))
    assert (
        "a feature can't be named 'customers': the service uses this name; rename the column, or leave it out"
        in message
    )
    assert load(lambda table: table.rename(columns={"Age": "customers"}), drop=["customers"]).raw.shape[1] == 9
    with pytest.raises(TableError, match="identifier can't be named 'customers'"):
        load(lambda table: table.rename(columns={"CustomerId": "customers"}), identifier="customers")


# --- The identifier and repeated rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CustomerId", "customer_id", "CLIENTNUM", "client no", "id"])
def test_the_identifier_is_found_by_its_usual_names(load: Any, name: str) -> None:
    assert load(lambda table: table.rename(columns={"CustomerId": name})).schema.identifier == name


def test_the_identifier_may_be_named(load: Any) -> None:
    dataset = load(lambda table: table.rename(columns={"CustomerId": "Vertrag"}), identifier="Vertrag")
    assert dataset.schema.identifier == "Vertrag"
    assert "Vertrag" not in dataset.schema.names


def test_without_an_identifier_answers_echo_the_usual_one(load: Any) -> None:
    assert load(lambda table: table.drop(columns="CustomerId")).schema.identifier == "CustomerId"


@pytest.mark.parametrize("gap", [True, False])
def test_an_identifier_that_repeats_or_has_gaps_is_still_no_feature(load: Any, gap: Any) -> None:
    cells = [""] * 30 + list(range(170)) if gap else [row % 100 for row in range(200)]
    dataset = load(lambda table: table.assign(CustomerId=cells))
    assert dataset.schema.identifier == "CustomerId"
    assert dataset.schema.names == FEATURES


def test_rows_that_repeat_an_earlier_one_are_dropped_and_counted(load: Any) -> None:
    dataset = load(lambda table: pd.concat([table, table[:20]]))
    assert dataset.source["rows"] == 220
    assert dataset.source["rows_repeated"] == 20
    assert len(dataset.raw) == 200
    assert "20 rows repeat an earlier one exactly and are dropped." in dataset.notes


def test_equal_customers_without_an_identifier_are_not_repeated_rows(load: Any) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([table, table[:20]]).drop(columns=["RowNumber", "CustomerId"])

    dataset = load(change)
    assert len(dataset.raw) == 220
    assert len(load(change, schema=dataset.schema).raw) == 220


# --- Tables nobody here has seen -------------------------------------------------------------------------------------


def test_a_table_with_other_names_gaps_and_a_category_of_four_values(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    rows = 400
    table = pd.DataFrame(
        {
            "client_no": [f"C{row:05}" for row in range(rows)],
            "tariff": draw.choice(["basic", "plus", "pro", "max"], rows),
            "income": draw.normal(3000, 500, rows).round(2),
            "calls": draw.integers(0, 9, rows),
            "app": draw.choice(["yes", "no"], rows),
            "left": draw.integers(0, 2, rows),
        }
    ).astype(object)
    for name, share in (("tariff", 0.1), ("income", 0.2)):
        table.loc[draw.random(rows) < share, name] = None
    for write, name in ((pd.DataFrame.to_csv, "mybank.csv"), (pd.DataFrame.to_parquet, "mybank.parquet")):
        write(table.infer_objects(), tmp_path / name, index=False)
        dataset = load_dataset(tmp_path / name, label="left", identifier="client_no")
        assert kinds(dataset) == {"tariff": "category", "income": "number", "calls": "integer", "app": "flag"}
        assert dataset.schema["tariff"].categories == ("basic", "max", "plus", "pro")
        assert [feature.name for feature in dataset.schema.features if feature.nullable] == ["tariff", "income"]
        assert dataset.schema.identifier == "client_no"
        assert np.isnan(dataset.raw).sum(axis=0).tolist() == [
            table.tariff.isna().sum(),
            table.income.isna().sum(),
            0,
            0,
        ]


def test_a_typed_parquet_table_is_the_same_dataset_as_its_csv(load: Any) -> None:
    def typed(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(
            Geography=table.Geography.astype("category"),
            HasCrCard=table.HasCrCard.astype(bool),
            IsActiveMember=table.IsActiveMember.astype(bool).where(table.index != 3, None),
            Age=table.Age.astype("Int64").where(table.index != 5, pd.NA),
            Balance=table.Balance.map(lambda number: decimal.Decimal(str(number))),
            Opened=pd.Timestamp("2020-01-01") + pd.to_timedelta(table.index, "D"),
        )

    from_parquet, from_csv = load(typed, form="parquet"), load(typed)
    assert from_parquet.schema == from_csv.schema
    assert repr(from_parquet.raw.tolist()) == repr(from_csv.raw.tolist())
    assert from_parquet.labels.tolist() == from_csv.labels.tolist()
    assert from_parquet.source["columns_dropped"] == from_csv.source["columns_dropped"]
    assert kinds(from_parquet)["Opened"] == "date"


def test_a_table_with_decimal_commas_is_the_same_dataset_in_memory_and_streamed(tmp_path: Path) -> None:
    """A category is what is written, so that the same table can be scored over HTTP; a number is what it means."""
    path = tmp_path / "bank.csv"
    rows = [f"{1000 + row},5;{(row * 7) % 3 + 1},5;{row % 2},0" for row in range(60)]
    path.write_text("\n".join(["Balance;Plan;Exited", *rows, ""]))
    options: Any = {"category": ("Plan",), "keep": ("Balance",)}
    dataset = load_dataset(path, **options)
    assert dataset.schema["Plan"].categories == ("1,5", "2,5", "3,5")
    assert dataset.raw[:, 0].tolist() == [1000.5 + row for row in range(60)]
    assert dataset.labels.tolist() == [0, 1] * 30
    with open_streamed(path, Split(0.2, 0.2, 0), **options) as streamed:
        assert streamed.sample.schema == dataset.schema


# --- A schema from a person ------------------------------------------------------------------------------------------


def test_a_schema_that_was_written_and_edited_decides(load: Any, tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    write_schema_file(path, load().schema)
    text = path.read_text().replace("[features.Tenure]", "[features.Tenure]\nnullable = true")
    assert text.startswith("# Columns of a customer.")
    path.write_text(text)
    dataset = load(schema=read_schema(path))
    assert dataset.schema["Tenure"].nullable
    assert dataset.schema.names == FEATURES
    assert "RowNumber" not in dataset.source["columns_dropped"]


def test_a_schema_sets_the_ranges_of_training_anew(load: Any) -> None:
    age = Feature("Age", "integer", trained_minimum=-7, trained_maximum=-6)
    dataset = load(schema=Schema((age,), "Exited"))
    assert dataset.schema["Age"].trained_minimum == draw_customers(200).Age.min()


def test_a_schema_refuses_what_it_does_not_allow(load: Any) -> None:
    schema = Schema(
        (Feature("Age", "integer", maximum=70), Feature("Geography", "category", categories=("France", "Spain"))),
        "Exited",
    )
    message = refusal(load, lambda table: table, schema=schema)
    assert "is too large; allowed: a whole number of 70 or less" in message
    assert "'Germany' is an unknown category; allowed: one of France, Spain" in message


def test_a_gap_in_a_column_the_schema_says_has_none_is_refused(load: Any) -> None:
    schema = Schema((Feature("Age", "integer"), Feature("HasCrCard", "flag")), "Exited")
    message = refusal(load, set_cells("Age", {4: ""}), schema=schema)
    assert "line 4, column Age: is missing; allowed: a whole number" in message
    message = refusal(load, set_cells("HasCrCard", {4: ""}), schema=schema)
    assert "line 4, column HasCrCard: is missing; allowed: 0, 1, true" in message


def test_whole_numbers_may_be_categories_in_every_form(load: Any) -> None:
    products = Feature("NumOfProducts", "category", categories=("1", "2", "3", "4"), nullable=True)
    schema = Schema((products,), "Exited")
    change = set_cells("NumOfProducts", {4: None})
    from_csv, from_parquet = load(change, schema=schema), load(change, schema=schema, form="parquet")
    assert np.isnan(from_csv.raw[2, 0])
    assert repr(from_csv.raw.tolist()) == repr(from_parquet.raw.tolist())


def test_a_column_the_schema_needs_and_the_table_lacks_is_refused(load: Any) -> None:
    schema = Schema((Feature("Age", "integer"), Feature("Income", "number")), "Exited")
    assert "bank.csv: columns are missing: Income; found: RowNumber" in refusal(
        load, lambda table: table, schema=schema
    )


def test_a_column_without_a_single_value_may_stay_if_the_schema_wants_it(load: Any) -> None:
    schema = Schema((Feature("Age", "integer"), Feature("Later", "number", nullable=True)), "Exited")
    dataset = load(lambda table: table.assign(Later=""), schema=schema)
    assert dataset.schema["Later"].trained_minimum is None
    assert np.isnan(dataset.raw[:, 1]).all()


@pytest.mark.parametrize("category", [[], ["HasCrCard", "NumOfProducts"]])
def test_the_known_table_marks_what_the_bank_can_change_and_nothing_else(tmp_path: Path, category: list[str]) -> None:
    path = write_csv(tmp_path / "bank.csv", draw_customers(200))
    schema = load_dataset(path, category=category).schema
    marks = {feature.name: feature.actionable for feature in schema.features if feature.actionable}
    expected = {"NumOfProducts": "any", "HasCrCard": "increase", "IsActiveMember": "increase"}
    assert marks == {name: mark for name, mark in expected.items() if mark == "any" or name not in category}


def test_a_schemas_marks_are_kept_whatever_the_known_table_says(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bank.csv", draw_customers(200))
    inferred = load_dataset(path).schema
    features = [
        replace(feature, actionable="decrease" if feature.name == "Balance" else "") for feature in inferred.features
    ]
    marked = replace(inferred, features=tuple(features))
    kept = load_dataset(path, schema=marked).schema
    assert [feature.actionable for feature in kept.features] == [feature.actionable for feature in features]
