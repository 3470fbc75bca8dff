"""Every way a table is read, brought to one form: what became of each row."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv, feather, ipc, parquet

from batch.files.job import FileJob, score_file
from batch.sql.job import SqlJob, score_query
from churn.feature import Feature
from churn.schema import Schema
from service.tables.job import TableJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from starlette.testclient import TestClient

    from churn.scorer import Scorer

SCHEMA = Schema(
    (
        Feature("Balance", "number", minimum=0, nullable=True, trained_minimum=0, trained_maximum=2500),
        Feature("Income", "number", trained_minimum=-10, trained_maximum=100),
        Feature("Age", "integer", minimum=0, maximum=130, trained_minimum=0, trained_maximum=100),
        Feature("Tenure", "integer", nullable=True, trained_minimum=0, trained_maximum=100),
        Feature("Card", "flag"),
        Feature("Active", "flag", nullable=True),
        Feature("Land", "category", categories=("France", "New Zealand", "Spain")),
        Feature("Plan", "category", categories=("1", "2.5", "NO"), nullable=True),
    ),
    "Exited",
)
CUSTOMER = {"Balance": 1250.5, "Income": -3.25, "Age": 42, "Tenure": 3, "Card": 1, "Active": "yes", "Land": "Spain",
            "Plan": "NO"}  # fmt: skip

Fault = tuple[str, str]
Outcome = float | tuple[Fault, ...]
"""A probability, or the fields at fault with the reasons; the field is empty where the line is at fault."""


def refuse(faults: dict[int, list[Fault]], row: int) -> tuple[Fault, ...]:
    return tuple(sorted(faults[row]))


def by_json(client: TestClient, customers: Sequence[dict[str, Any]]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for customer in customers:
        answer = client.post("/predict", content=json.dumps(customer), headers={"content-type": "application/json"})
        document = answer.json()
        if answer.status_code == 200:
            outcomes.append(document["probability"])
        else:
            outcomes.append(tuple(sorted((one["field"], one["reason"]) for one in document["errors"])))
    return outcomes


def _by_http(client: TestClient, body: bytes, media_type: str, decimal: str | None) -> list[Outcome]:
    query = f"&decimal={quote(decimal)}" if decimal else ""
    headers = {"content-type": media_type}
    answer = client.post(f"/predict?on_error=reject{query}", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    stream = media_type != "text/csv"
    rows = ipc.open_stream(answer.content).read_all() if stream else _read_csv(answer.content)
    answer = client.post(f"/predict?on_error=fail{query}", content=body, headers=headers)
    faults: dict[int, list[Fault]] = {}
    for one in answer.json()["errors"] if answer.status_code == 422 else ():
        faults.setdefault(one["row"] - 1, []).append((one["field"] or "", one["reason"]))
    probabilities = rows.column("probability").to_pylist()
    assert {row for row, one in enumerate(probabilities) if one is None} == set(faults)
    return [refuse(faults, row) if one is None else one for row, one in enumerate(probabilities)]


def _read_csv(content: bytes) -> pa.Table:
    types = {"probability": pa.float64(), "CustomerId": pa.string(), "churn": pa.string(), "error": pa.string()}
    return csv.read_csv(
        pa.BufferReader(content),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types),
    )


def by_http_csv(client: TestClient, path: Path, decimal: str | None = None) -> list[Outcome]:
    return _by_http(client, path.read_bytes(), "text/csv", decimal)


def by_http_csv_in_pieces(scorer: Scorer, path: Path, size: int, decimal: str | None = None) -> list[Outcome]:
    """Give the service's job some bytes at a time."""
    job = TableJob(scorer, "csv", rejects=True, decimal=decimal)
    body, text = path.read_bytes(), b""
    for start in range(0, max(len(body), 1), size):
        for block in job.work(body[start : start + size], last=start + size >= len(body), pack=lambda: False):
            text += block.answer.unpack()
    rows = _read_csv(text)
    return [
        tuple(sorted(_split_error(error))) if one is None else one
        for one, error in zip(rows.column("probability").to_pylist(), rows.column("error").to_pylist(), strict=True)
    ]


def _split_error(error: str) -> list[Fault]:
    """Take apart what stands beside a row that was rejected."""
    found = []
    for part in re.split(f"; (?=(?:{'|'.join(SCHEMA.names)}|the row) )", error):
        field, reason = re.match(r"(the row|\S+) (.*?)(?:: sent .*|, allowed: .*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        found.append(("" if field == "the row" else field, reason))
    return found


def to_text_batch(rows: Sequence[Mapping[str, str | None]]) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in rows[0]})


def by_http_arrow(client: TestClient, table: pa.Table, decimal: str | None = None) -> list[Outcome]:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=97)
    return _by_http(client, sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream", decimal)


def by_score(scorer: Scorer, source: Path, folder: Path, decimal: str | None = None) -> list[Outcome]:
    output = folder / "scores.parquet"
    summary = score_file(scorer, FileJob(str(source), str(output), if_exists="replace", decimal=decimal))
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(("identifier", "column", "value", "reason", "allowed"), pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    rejects = csv.read_csv(
        f"{output}.rejects", convert_options=convert, parse_options=csv.ParseOptions(newlines_in_values=True)
    )
    return _merge(parquet.read_table(output), rejects.to_pylist(), summary["rows"])


def _merge(scores: pa.Table, rejects: Sequence[dict[str, Any]], rows: int) -> list[Outcome]:
    faults: dict[int, list[Fault]] = {}
    for one in rejects:
        faults.setdefault(one["row"] - 1, []).append((one["column"] or "", one["reason"]))
    rest = iter(scores.column("probability").to_pylist())
    return [refuse(faults, row) if row in faults else next(rest) for row in range(rows)]


def write_table(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=131)
    elif path.suffix == ".arrow":
        feather.write_feather(table, path, chunksize=77)
    else:
        with ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=77)
    return path


def by_sql(scorer: Scorer, rows: Sequence[Mapping[str, str | None]], path: Path) -> list[Outcome]:
    """Score a table of SQLite in which everything is text."""
    path.unlink(missing_ok=True)
    path.touch()
    url = f"sqlite:///{path}"
    names = [name for name in rows[0] if name != "Exited"]
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        form = ", ".join(f'"{name}" TEXT' for name in names)
        connection.execute(sa.text(f"CREATE TABLE customers (number INTEGER, {form})"))
        customers = sa.table("customers", sa.column("number"), *map(sa.column, names))
        values = [{name: row[name] for name in names} | {"number": n} for n, row in enumerate(rows)]
        connection.execute(sa.insert(customers), values)
    summary = score_query(scorer, SqlJob("SELECT * FROM customers", url, "scores", key="number"))
    with engine.connect() as connection:
        scores = connection.execute(sa.text("SELECT probability FROM scores ORDER BY number")).all()
        found = connection.execute(sa.text('SELECT "row", "column", reason FROM scores_rejects')).all()
    table = pa.table({"probability": [one[0] for one in scores]})
    return _merge(table, [dict(zip(("row", "column", "reason"), one, strict=True)) for one in found], summary["rows"])


def _explain(text: str) -> str:
    """Return the reason alone of what training says of a cell."""
    return re.sub(r"""^(?:'.*?'|".*?") """, "", text.split("; allowed: ")[0], flags=re.DOTALL)


def _read_faults(text: str) -> dict[int, list[Fault]]:
    """Return faults by line from what training lists."""
    faults: dict[int, list[Fault]] = {}
    for part in re.split(r"\n? {2}(?=line \d+)", text)[1:]:
        line, column, reason = re.match(r"line (\d+)(?:, column (\S+))?: (.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        faults.setdefault(int(line), []).append((column or "", _explain(reason)))
    return faults


def _by_line(lines: Sequence[int], raw: Any, faults: dict[int, list[Fault]], scorer: Scorer) -> list[Outcome]:
    places = {line: place for place, line in enumerate(lines)}
    return [
        refuse(faults, line) if line in faults else float(scorer.score_raw(np.asarray(raw)[[places[line]]])[0])
        for line in sorted({*places, *faults})
    ]


def by_training(scorer: Scorer, path: Path, decimal: str | None = None) -> list[Outcome]:
    """Read a table as `churn train` does, in memory."""
    from training.dataset import encode_table
    from training.tables import list_faults, read_table

    table = read_table(path, scorer.schema, decimal)
    raw, faults = encode_table(table, scorer.schema)
    return _by_line(table.lines.tolist(), raw, _read_faults(list_faults([*table.faults, *faults])), scorer)


def by_streamed_training(scorer: Scorer, path: Path, decimal: str | None = None) -> list[Outcome]:
    """Read a table as `churn train --stream` does."""
    from training.labels import Classes
    from training.source import open_source
    from training.streaming import spread
    from training.streaming.faults import FaultLog
    from training.streaming.inspect import Inspected

    source = open_source(path, scorer.schema, decimal)
    inspected = Inspected(scorer.schema, Classes("1", "0"), [], True, 0, (), {})
    log = FaultLog()
    batches = list(source.read())
    raw = np.concatenate([spread._encode(scorer.schema, inspected, batch, log)[0] for batch in batches])
    lines = np.concatenate([batch.find_lines() for batch in batches])
    faults = _read_faults("\n" + log.describe(source))
    return _by_line(lines.tolist(), raw, faults, scorer)
