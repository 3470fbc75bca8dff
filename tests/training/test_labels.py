"""Labels of more than two values, and rows that are left out on purpose."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bank import draw_customers, write_csv

from churn.errors import TableError
from training.dataset import load_dataset
from training.streaming.spread import Split, open_streamed

if TYPE_CHECKING:
    from pathlib import Path

JOINED = 7
"""Every so many rows a customer has just joined."""


def three_values(rows: int = 300) -> pd.DataFrame:
    table = draw_customers(rows)
    words = table.Exited.map({0: "Stayed", 1: "Churned"})
    words[::JOINED] = "Joined"
    # A value that only those who joined have must not become a category.
    return table.assign(Exited=words, Gender=table.Gender.where(words != "Joined", "new"))


def load_both(path: Path, scratch: Path, **options: Any) -> Any:
    """Load a table in memory and streamed, and hold the two together."""
    dataset = load_dataset(path, **options)
    with open_streamed(path, Split(0.2, 0.1, 0), scratch=scratch, **options) as table:
        assert sum(table.counts.values()) == len(dataset.labels)
        assert table.sample.schema.to_dict()["features"].keys() == dataset.schema.to_dict()["features"].keys()
        assert table.sample.source["positive_share"] == pytest.approx(dataset.labels.mean())
        assert [note for note in table.sample.notes if "left out" in note] == [
            note for note in dataset.notes if "left out" in note
        ]
    return dataset


@pytest.mark.parametrize(
    "options",
    [
        {"positive": "Churned", "negative": "Stayed"},
        {"positive": "churned", "negative": " STAYED "},
        {"drop_rows": ["Exited=Joined"]},
        {"drop_rows": ["Exited=joined"]},
        {"drop_rows": [" Exited = Joined "]},
        {"drop_rows": ["Gender=new"]},
    ],
)
def test_rows_of_a_third_value_are_left_out_and_counted(tmp_path: Path, options: dict[str, Any]) -> None:
    table = three_values()
    dataset = load_both(write_csv(tmp_path / "bank.csv", table), tmp_path, **options)
    kept = table[table.Exited != "Joined"]
    assert dataset.labels.tolist() == (kept.Exited == "Churned").astype(float).tolist()
    assert dataset.schema["Gender"].categories == ("Female", "Male")
    left_out = len(table) - len(kept)
    assert dataset.source["rows_left_out"] == left_out
    (told,) = [note for note in dataset.notes if note.startswith(f"{left_out} rows are left out: ")]
    written = options.get("drop_rows", ["=Joined"])[0].split("=")[1].strip()
    assert options.get("positive") or told.endswith(f" is {written!r}.")
    assert dataset.source["classes"] == {"left": "churned", "stayed": "stayed"}


def test_a_label_of_three_values_names_both_ways_on_and_they_work(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bank.csv", three_values())
    for load in (load_dataset, lambda path: open_streamed(path, Split(0.2, 0.1, 0), scratch=tmp_path).__enter__()):
        with pytest.raises(TableError, match="has 3 values") as error:
            load(path)
        message = str(error.value)
        assert "'Churned' (line " in message
        words = shlex.split(message[message.index("--positive") : message.index("\nOr")])
        assert words == ["--positive", "Churned", "--negative", "Stayed"]
        assert shlex.split(message[message.index("--drop-rows") :]) == ["--drop-rows", "Exited=Joined"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"positive": "Gone"}, "--positive 'Gone' is not one of its values: 'Churned', 'Joined', 'Stayed'"),
        ({"positive": "Churned", "negative": "Here"}, "--negative 'Here' is not one of its values"),
        ({"positive": "Churned", "negative": "churned"}, "--positive and --negative are the same value"),
        ({"positive": "Joined"}, "--positive Joined --negative Stayed"),
        ({"drop_rows": ["Exited"]}, "--drop-rows 'Exited': it has no equals sign; allowed: COLUMN=VALUE"),
        ({"drop_rows": ["Status=Joined"]}, "there is no column 'Status'"),
        ({"drop_rows": ["Exited=Joined", "Exited=Stayed"]}, "has one value \\('Churned'\\)"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(TableError, match=says):
        load_dataset(write_csv(tmp_path / "bank.csv", three_values()), **options)


def test_the_value_that_means_staying_is_enough_for_two(tmp_path: Path) -> None:
    table = draw_customers(200)
    path = write_csv(tmp_path / "bank.csv", table.assign(Exited=table.Exited.map({0: "blue", 1: "green"})))
    assert load_dataset(path, negative="blue").labels.tolist() == table.Exited.tolist()


def test_rows_without_a_value_can_be_left_out(tmp_path: Path) -> None:
    table = draw_customers(200)
    table["Balance"] = table.Balance.astype(object)
    table.loc[table.index % 5 == 0, "Balance"] = ""
    dataset = load_both(write_csv(tmp_path / "bank.csv", table), tmp_path, drop_rows=["Balance="])
    assert len(dataset.labels) == 160
    assert not dataset.schema["Balance"].nullable


def test_a_name_with_blanks_or_an_equals_sign_is_found_in_every_option(tmp_path: Path) -> None:
    names = {"Exited": "churn ", "Gender": "sex=f/m ", "CustomerId": "number ", "Surname": " town "}
    path = write_csv(tmp_path / "bank.csv", three_values().rename(columns=names))
    for blank in ("", " "):
        dataset = load_dataset(
            path,
            label=f"churn{blank}",
            identifier=f"number{blank}",
            drop=[f"Balance{blank}"],
            keep=[f"Age{blank}"],
            drop_rows=[f"sex=f/m{blank}=new", f"churn{blank}=Joined"],
        )
        assert dataset.schema.identifier == "number"
        assert "Balance" not in dataset.schema.names
        assert len(dataset.labels) == sum(1 for row in range(300) if row % JOINED)


# --- A second header line --------------------------------------------------------------------------------------------


def with_second_header(describe: dict[str, str]) -> pd.DataFrame:
    table = draw_customers(200).astype(object)
    first = {name: describe.get(name, f"the customer's {name}") for name in table.columns}
    return pd.concat([pd.DataFrame([first]), table], ignore_index=True)


@pytest.mark.parametrize("describe", [{}, {"Geography": "", "Tenure": "", "Exited": ""}, {"Exited": "0 or 1"}])
def test_a_second_header_line_is_refused_or_dropped(tmp_path: Path, describe: dict[str, str]) -> None:
    path = write_csv(tmp_path / "bank.csv", with_second_header(describe))
    with pytest.raises(TableError, match="line 2: it looks like a second header line"):
        load_dataset(path)
    dataset = load_dataset(path, on_bad_row="drop")
    assert np.array_equal(dataset.raw, load_dataset(write_csv(tmp_path / "plain.csv", draw_customers(200))).raw)
    split = Split(0.2, 0.1, 0)
    with pytest.raises(TableError, match=r"line 2: .*; delete that line"), open_streamed(path, split):
        pass
    with open_streamed(path, split, on_bad_row="drop") as streamed:
        assert streamed.sample.schema == dataset.schema
        assert sum(streamed.counts.values()) == 200
        assert streamed.sample.source["rows_with_faults"] == 1
        assert any("line 2: it looks like a second header line" in note for note in streamed.sample.notes)


def test_a_first_row_with_a_few_wrong_cells_is_no_header(tmp_path: Path) -> None:
    table = draw_customers(200).astype(object)
    table.loc[0, ["Age", "Balance"]] = ["old", "rich"]
    with pytest.raises(TableError, match="line 2, column Age: 'old' is not a number"):
        load_dataset(write_csv(tmp_path / "bank.csv", table))


# --- Another encoding ------------------------------------------------------------------------------------------------


def test_a_single_cell_that_is_not_utf8_gets_that_command_too(tmp_path: Path) -> None:
    table = draw_customers(300).astype({"Geography": object})
    table.loc[200, "Geography"] = "España"
    path = tmp_path / "bank.csv"
    path.write_bytes(table.to_csv(index=False).encode("latin-1"))
    with pytest.raises(TableError) as in_memory:
        load_dataset(path)
    with pytest.raises(TableError) as streamed, open_streamed(path, Split(0.2, 0.1, 0)):
        pass
    assert str(in_memory.value) == str(streamed.value)
    assert "line 202, column Geography: 'Espa\ufffda' is not UTF-8 text" in str(streamed.value)
    assert str(streamed.value).endswith(f"iconv -f WINDOWS-1252 -t UTF-8 {path} > {tmp_path}/bank-utf8.csv")


@pytest.mark.parametrize("names", [{}, {"Surname": "Größe"}])
def test_a_table_that_is_not_utf8_gets_the_command_that_converts_it(tmp_path: Path, names: dict[str, str]) -> None:
    table = draw_customers(300).assign(Surname=["Müller", "Genève", "Meier"] * 100).rename(columns=names)
    path = tmp_path / "bank of x.csv"
    path.write_bytes(table.to_csv(index=False).encode("latin-1"))
    command = f"iconv -f WINDOWS-1252 -t UTF-8 '{path}' > '{tmp_path}/bank of x-utf8.csv'"
    with pytest.raises(TableError, match="not UTF-8") as error:
        load_dataset(path)
    assert str(error.value).endswith(command)
    with pytest.raises(TableError, match="not UTF-8") as error, open_streamed(path, Split(0.2, 0.1, 0)):
        pass
    assert str(error.value).endswith(command)
