"""Count the rows of finished files by reading them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv, ipc, parquet

from churn.tables.records import cut_records, find_begins, find_quoted

if TYPE_CHECKING:
    from pathlib import Path

    from batch.files.formats import Format

_BYTES = 4 << 20


def count_rows(path: Path, form: Format) -> int:
    """Count the rows of a file of scores."""
    if form.kind == "parquet":
        return int(parquet.read_metadata(path).num_rows)
    if form.kind == "csv":
        return _count_lines(path, form) - 1
    with pa.OSFile(str(path)) as file:
        if form.kind == "arrow":
            with ipc.open_file(file) as reader:
                return sum(len(reader.get_batch(index)) for index in range(reader.num_record_batches))
        with ipc.open_stream(file) as stream:
            return sum(map(len, stream))


def count_rejected(path: Path) -> int:
    """Count the distinct row numbers in a file of rejects, which is ordered by row."""
    convert = csv.ConvertOptions(include_columns=["row"], column_types={"row": pa.int64()})
    parse = csv.ParseOptions(newlines_in_values=True)
    count, last = 0, 0
    with csv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
        for batch in reader:
            rows = np.asarray(batch.column(0))
            if len(rows):
                count += int(np.count_nonzero(np.diff(rows, prepend=last)))
                last = int(rows[-1])
    return count


def _count_lines(path: Path, form: Format) -> int:
    """Count the records of a CSV file, including the header."""
    with pa.OSFile(str(path)) as raw:
        stream = raw if form.codec is None else pa.CompressedInputStream(raw, form.codec)
        count, data = 0, b""
        while read := stream.read(_BYTES):
            data += read
            end = cut_records(data, b",").end
            count += _count_records(data[:end])
            data = data[end:]
    return count + _count_records(data)


def _count_records(data: bytes) -> int:
    if b'"' not in data:
        return data.count(b"\n")
    return len(find_begins(data, find_quoted(data, b",", is_last=True)))
