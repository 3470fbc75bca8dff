"""A large table read in batches: schema, faults, parts, shards. Nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bank import draw_customers, with_gaps, write_csv

from churn.errors import TableError
from churn.tables import csv_file
from training import source
from training.dataset import load_dataset
from training.evaluate import score
from training.streaming import inspect, keys, shards, spread
from training.streaming.count import ProbabilityCounts
from training.streaming.records import BLOCK_ROWS, write_records
from training.streaming.shards import PARTS, Shards
from training.streaming.spread import Split, StreamedTable, open_streamed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SPLIT = Split(0.2, 0.1, 0)


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    return with_gaps(draw_customers(1000))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a table of a thousand rows be a large one."""
    monkeypatch.setattr(source, "BATCH_ROWS", 97)
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 6000)
    monkeypatch.setattr(inspect, "INFER_ROWS", 300)
    monkeypatch.setattr(shards, "SHARD_ROWS", 100)
    monkeypatch.setattr(spread, "REPORT_ROWS", 50)


def everything(table: StreamedTable) -> NDArray[np.float64]:
    """Return all rows of all shards, sorted, with label and part."""
    return ordered(np.concatenate([np.column_stack(table.shards.load(shard)) for shard in range(table.shards.count)]))


def ordered(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[np.lexsort(rows.T)]


def write_folder(folder: Path, customers: pd.DataFrame) -> Path:
    (folder / "deeper").mkdir(parents=True)
    for name, rows in (("a", customers[:300]), ("b", customers[300:350]), ("deeper/c", customers[350:])):
        rows.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "_SUCCESS").touch()
    return folder


@pytest.mark.usefixtures("small")
def test_a_table_is_read_as_it_is_in_memory(customers: pd.DataFrame, bank_csv: Path, tmp_path: Path) -> None:
    expected = load_dataset(bank_csv)
    numbers = customers.astype({"Balance": float, "HasCrCard": float})
    whole = tmp_path / "bank.parquet"
    numbers.to_parquet(whole, index=False)
    semicolons = write_csv(tmp_path / "bank.txt", customers, sep=";", lineterminator="\r\n", encoding="utf-8-sig")
    found = []
    for path in (bank_csv, whole, write_folder(tmp_path / "folder", numbers), semicolons):
        with open_streamed(path, SPLIT) as table:
            found.append(everything(table))
            assert table.shards.count == 10
            for streamed, feature in zip(table.sample.schema.features, expected.schema.features, strict=True):
                assert replace(streamed, example=None) == replace(feature, example=None)
            assert table.sample.source["rows_used"] == 1000
            assert set(table.sample.source["columns_dropped"]) == {"RowNumber", "Surname"}
        np.testing.assert_array_equal(found[-1], found[0])
    whole_table = np.column_stack([expected.raw, expected.labels])
    np.testing.assert_array_equal(ordered(found[0][:, :-1]), ordered(whole_table))


@pytest.mark.usefixtures("small")
def test_no_array_holds_more_than_a_shard_or_a_sample(
    customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    load = Shards.load

    def watched(self: Shards, shard: int) -> Any:
        rows = load(self, shard)
        lengths.append(len(rows[0]))
        return rows

    encode = spread.encode_batch
    monkeypatch.setattr(Shards, "load", watched)
    monkeypatch.setattr(spread, "encode_batch", lambda *given: lengths.append(len(given[1])) or encode(*given))
    path = tmp_path / "bank.parquet"
    pd.concat([customers] * 3).drop(columns="CustomerId").to_parquet(path, index=False)
    with open_streamed(path, SPLIT) as table:
        assert sum(table.counts.values()) == 3000
        assert {len(rows) for rows in table.rows.values()} == {50}
        assert sum(len(rows[1]) for rows in table.shards.read()) == 3000
    assert max(lengths) <= 160  # batches of 97 rows; 30 shards of 100 rows, give or take chance


def test_a_part_is_fixed_by_the_customer_and_random_otherwise(customers: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "bank.parquet"
    # All customers come up a second time, a year older.
    pd.concat([customers, customers.assign(Age=customers.Age + 1)]).to_parquet(path, index=False)
    with open_streamed(path, SPLIT) as table:
        rows = everything(table)
        age = table.sample.schema.names.index("Age")
        assert dict(zip(PARTS, np.bincount(rows[:, -1].astype(int)), strict=True)) == table.counts
    rest = np.nan_to_num(np.delete(rows, age, axis=1), nan=-1)
    _, counts = np.unique(rest, axis=0, return_counts=True)
    assert (counts % 2 == 0).all()
    drawn = keys.draw(keys.number_keys(0, 100_000), 0, keys.PART)
    assert abs(drawn.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(drawn, keys.draw(keys.number_keys(0, 100_000), 1, keys.PART))[0, 1]) < 0.02
    assert abs(np.corrcoef(drawn, keys.draw(keys.number_keys(0, 100_000), 0, keys.SHARD))[0, 1]) < 0.02
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02


def test_an_identifier_has_one_key_wherever_it_stands() -> None:
    texts = ["", "a", "b", "1234567", "12345678", "123456789", "Zoë" * 99, None, *map(str, range(10**6, 10**6 + 10**5))]
    column = pa.array(texts)
    numbers = keys.number_keys(0, len(texts))
    found = keys.identifier_keys(column, numbers)
    assert found[7] == 7
    known = np.arange(len(texts)) != 7
    hashes = pd.util.hash_array(np.array(texts, dtype=object)[known], categorize=False)
    assert (found[known] == hashes).all()
    assert len(np.unique(found)) == len(texts)
    assert (keys.identifier_keys(column[4:9], numbers[4:9]) == found[4:9]).all()
    assert (keys.identifier_keys(pa.array(texts[3:5]), numbers[:2]) == found[3:5]).all()
    assert len(keys.identifier_keys(column[:0], numbers[:0])) == 0


@pytest.mark.usefixtures("small")
def test_what_only_few_rows_show_is_in_the_schema(customers: pd.DataFrame, tmp_path: Path) -> None:
    table = customers.assign(Points=np.arange(1000.0) * 2, Visits=5, Count=np.arange(1000)[::-1] + 7)
    table["Visits"] = np.arange(1000) % 7
    draw = keys.draw(keys.number_keys(0, 1000), 0, keys.SAMPLE)
    unseen = int(draw.argmax())  # the last to come into the sample
    for name, cell in (("Geography", "Malta"), ("Points", -3.5), ("Visits", np.nan)):
        table.loc[unseen, name] = cell
    with open_streamed(write_csv(tmp_path / "bank.csv", table), SPLIT) as streamed:
        schema = streamed.sample.schema
        assert schema["Geography"].categories == ("France", "Germany", "Malta", "Spain")
        assert (schema["Points"].kind, schema["Points"].minimum) == ("number", None)
        assert schema["Visits"].nullable
        assert "Count is dropped: it is different in every row" in " ".join(streamed.sample.notes)
        (gaps,) = [note for note in streamed.sample.notes if note.startswith("Missing values are imputed and marked")]
        assert gaps.endswith("Visits.")


def write_dirty(path: Path, customers: pd.DataFrame) -> Path:
    """Write a table with a quoted line break, a ragged line, an unknown word, a missing label and an empty line."""
    table = customers.astype(object).where(customers.notna(), "")
    table.loc[2, "Surname"] = "two\nlines"
    table.loc[400, "Gender"] = "?"
    table.loc[700, "Exited"] = ""
    table.loc[700, "Age"] = -3
    lines = write_csv(path, table).read_text().split("\n")
    lines.insert(10, "1,2,3")
    lines.insert(20, "")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.usefixtures("small")
def test_bad_rows_are_refused_by_line_as_in_memory(customers: pd.DataFrame, tmp_path: Path) -> None:
    path = write_dirty(tmp_path / "dirty.csv", customers)
    messages = []
    for load in (load_dataset, lambda path: open_streamed(path, SPLIT, scratch=tmp_path).__enter__()):
        with pytest.raises(TableError) as caught:
            load(path)
        messages.append(str(caught.value))
    assert messages[0].count("line") > 4
    assert sorted(messages[1].split("\n")) == sorted(messages[0].split("\n"))
    assert "line 11: has 3 fields; allowed: 14 fields, as in the header" in messages[1]
    assert "line 405, column Gender: '?' is an unknown category; allowed: one of Female, Male" in messages[1]
    assert list(tmp_path.glob(f"{spread.PREFIX}*")) == []


@pytest.mark.usefixtures("small")
def test_bad_rows_are_dropped_and_counted_if_asked(customers: pd.DataFrame, tmp_path: Path) -> None:
    path = write_dirty(tmp_path / "dirty.csv", customers)
    expected = load_dataset(path, on_bad_row="drop")
    with open_streamed(path, SPLIT, on_bad_row="drop") as table:
        for name in ("rows", "rows_used", "rows_with_faults", "positive_share", "sha256"):
            assert table.sample.source[name] == expected.source[name]
        assert any(note.startswith("3 rows are dropped for 4 faults:\n  line 11: ") for note in table.sample.notes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda table: table.assign(Exited=np.arange(len(table)) % 3),
            r"label Exited has 3 values.*'2' \(row|line 4\)",
        ),
        (lambda table: table.assign(Exited=1), r"label Exited has one value \('1'\)"),
        (lambda table: table.assign(Exited=(np.arange(len(table)) < 5) * 1), "only 5 usable customers left"),
        (lambda table: table[:0], "the table has a header and no rows that can be used"),
        (lambda table: table[["Exited", "CustomerId"]], "no column is left to learn from"),
    ],
)
def test_a_table_that_can_not_be_used_is_refused(
    customers: pd.DataFrame, tmp_path: Path, change: Any, says: str
) -> None:
    path = write_csv(tmp_path / "bank.csv", change(customers))
    with pytest.raises(TableError, match=says), open_streamed(path, SPLIT, scratch=tmp_path):
        pass
    assert [found.name for found in tmp_path.iterdir()] == ["bank.csv"]


def test_a_folder_that_can_not_be_used_is_refused(customers: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="holds no Parquet file"):
        source.open_source(tmp_path)
    folder = write_folder(tmp_path / "folder", customers)
    customers.drop(columns="Age").to_parquet(folder / "d.parquet", index=False)
    with pytest.raises(TableError, match=r"d\.parquet: its columns .* are not those before"):
        list(source.open_source(folder).read())
    (tmp_path / "hive" / "country=DE").mkdir(parents=True)
    customers.to_parquet(tmp_path / "hive" / "country=DE" / "a.parquet")
    with pytest.raises(TableError, match="columns in folder names"):
        source.open_source(tmp_path / "hive")
    for name in ("absent.csv", "table.xlsx"):
        (tmp_path / "table.xlsx").touch()
        with pytest.raises(TableError, match=r"no such file|unknown kind of file"):
            source.open_source(tmp_path / name)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"needs about .* GB are free; use another folder with --scratch"):
        Shards.plan(tmp_path, 10**14, 10, 0)


@pytest.mark.parametrize("stop", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_in_the_scratch_folder(
    bank_csv: Path, tmp_path: Path, stop: type[BaseException] | None
) -> None:
    def work() -> None:
        with open_streamed(bank_csv, SPLIT, scratch=tmp_path) as table:
            assert table.shards.folder.parent == tmp_path
            assert any(table.shards.folder.iterdir())
            if stop is not None:
                raise stop

    if stop is None:
        work()
    else:
        with pytest.raises(stop):
            work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_a_pass_shows_every_training_row_and_no_two_passes_are_alike(bank_csv: Path) -> None:
    from training.networks import NETWORKS
    from training.preprocess import fit_preprocessor

    with open_streamed(bank_csv, SPLIT) as table:
        schema = table.sample.schema
        _, preprocessor = fit_preprocessor(schema, table.sample.raw, NETWORKS["default"].encoding)
        columns = np.arange(preprocessor.width)
        records = write_records(table.shards, preprocessor, columns, table.counts["train"])
        expected = np.concatenate(
            [
                np.column_stack([preprocessor.transform(raw), labels]).astype(np.float32)
                for name, raw, labels in table.shards.read()
                if name == "train"
            ]
        )
        assert records.blocks == -(-len(expected) // BLOCK_ROWS) == 3
        blocks = [np.column_stack(pair) for pair in records.stream(BLOCK_ROWS, 1).take(12).as_numpy_iterator()]
    passes = [np.concatenate(blocks[start : start + 3]) for start in range(0, 12, 3)]
    seen, counts = np.unique(passes[0], axis=0, return_counts=True)
    np.testing.assert_array_equal(seen, np.unique(expected, axis=0))
    assert counts.sum() == 3 * BLOCK_ROWS
    assert any(not np.array_equal(passes[0], other) for other in passes[1:])
    for other in passes[1:]:
        np.testing.assert_array_equal(np.unique(other, axis=0), seen)


def test_counts_of_probabilities_score_as_the_customers_themselves() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.beta(1, 4, 5000).round(3)
    labels = (generator.random(5000) < probabilities).astype(np.float64)
    tally = ProbabilityCounts()
    for start in range(0, 5000, 700):
        tally.add(labels[start : start + 700], probabilities[start : start + 700])
    found, expected = tally.score(0.4), score(labels, probabilities, 0.4)
    assert found.confusion_matrix == expected.confusion_matrix
    assert found.customers == 5000
    for name in ("log_loss", "roc_auc", "average_precision", "accuracy", "brier_score", "calibration_error", "lift"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12)
