"""Jobs on files for the tests: written, run, read back, and what one call of the scorer makes of the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from bank import draw_customers, with_gaps
from pyarrow import csv, feather, ipc, parquet

from batch.chunk import score_rows
from batch.files.job import FileJob, score_file
from churn.tables.rows import Rows as TableRows

if TYPE_CHECKING:
    from pathlib import Path

    from churn.reasons.strongest import ReasonWriter
    from churn.scorer import Scorer

Rows = list[dict[str, Any]]


def draw_dirty(rows: int = 600) -> pd.DataFrame:
    """Draw customers as text; eight values in six of them are wrong."""
    table = with_gaps(draw_customers(rows, seed=5)).astype(object)
    table = table.map(lambda cell: "" if pd.isna(cell) else str(cell))
    table.loc[0, ["Age", "Gender"]] = ""
    table.loc[17, "Age"] = "900"
    table.loc[[18, rows - 1], "Geography"] = "Mars"
    table.loc[300, ["NumOfProducts", "Tenure"]] = "-3"
    table.loc[301, "CreditScore"] = "?"
    return table


def write(table: pd.DataFrame, path: Path) -> Path:
    """Write a table in the form its name says, packed or not."""
    if path.suffix in (".csv", ".gz", ".zst"):
        with pa.output_stream(path, compression={".gz": "gzip", ".zst": "zstd"}.get(path.suffix)) as stream:
            stream.write(table.to_csv(index=False).encode())
        return path
    columns = pa.Table.from_pandas(table.replace("", None), preserve_index=False)
    if path.suffix == ".parquet":
        parquet.write_table(columns, path, row_group_size=250)
    elif path.suffix == ".arrow":
        feather.write_feather(columns, path, chunksize=170)
    else:
        with ipc.new_stream(path, columns.schema) as writer:
            writer.write_table(columns, max_chunksize=170)
    return path


def read(path: Path) -> pa.Table:
    """Read a file of scores, whatever its form."""
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    if path.suffix == ".arrow":
        return feather.read_table(path)
    if path.suffix == ".arrows":
        return ipc.open_stream(path.read_bytes()).read_all()
    types = {"CustomerId": pa.string(), "Surname": pa.string(), "model_version": pa.string()}
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
    with pa.input_stream(path) as stream:
        return csv.read_csv(stream, convert_options=convert, parse_options=csv.ParseOptions(newlines_in_values=True))


def read_rejects(path: Path) -> Rows:
    """Read a file of rejects."""
    types = {"row": pa.int64()} | dict.fromkeys(("identifier", "column", "value", "reason", "allowed"), pa.string())
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
    table = csv.read_csv(path, convert_options=convert, parse_options=csv.ParseOptions(newlines_in_values=True))
    return list(table.to_pylist())


def expect(
    scorer: Scorer, table: pd.DataFrame, keep: tuple[str, ...] = (), writer: ReasonWriter | None = None
) -> tuple[Rows, Rows]:
    """Return what one call of the scorer makes of a table of text: scores and rejects."""
    columns = pa.Table.from_pandas(table.replace("", None), preserve_index=False)
    batch = columns.combine_chunks().to_batches()[0]
    chunk = score_rows(scorer, TableRows(batch, len(batch)), keep, writer)
    return chunk.scores.to_pylist(), chunk.rejects.to_pylist()


def score(scorer: Scorer, source: Path | str, output: Path | str, **chosen: Any) -> dict[str, Any]:
    """Run a job, and see that its summary accounts for every row."""
    summary = score_file(scorer, FileJob(str(source), str(output), **chosen))
    assert summary["rows"] == summary["scored"] + summary["rejected"]
    return summary
