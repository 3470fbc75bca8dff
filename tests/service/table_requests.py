"""Tables for requests, and requests on a socket that read and write as they are told."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import ipc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CSV, ARROW = "text/csv", "application/vnd.apache.arrow.stream"


def to_csv(customers: Sequence[Mapping[str, Any]], delimiter: str = ",", newline: str = "\n") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(customers[0]), delimiter=delimiter, lineterminator=newline)
    writer.writeheader()
    writer.writerows(customers)
    return text.getvalue().encode()


def to_arrow(customers: Sequence[Mapping[str, Any]], batch_rows: int | None = None, **columns: pa.Array) -> bytes:
    table = pa.Table.from_pylist([dict(customer) for customer in customers])
    for name, column in columns.items():
        table = table.set_column(table.schema.names.index(name), name, column)
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def read_csv(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def read_arrow(body: bytes) -> list[dict[str, Any]]:
    with ipc.open_stream(body) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def post(client: Any, body: bytes | Iterable[bytes], media_type: str = CSV, query: str = "", **headers: str) -> Any:
    return client.post(f"/predict{query}", content=body, headers={"content-type": media_type} | headers)
