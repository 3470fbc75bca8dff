"""The rows of a table as records have them. Importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from churn.tables.shared_texts import take_rows

if TYPE_CHECKING:
    from churn.schema import Schema
    from churn.tables.encode import Encoded
    from churn.tables.rows import Rows


class KeptRows(NamedTuple):
    """The accepted rows of a block.

    Attributes
    ----------
    rows : bytes
        An Arrow stream of one batch, with the columns of the schema and the identifier, if there is one.
    read_as : str
        How texts among them were read; see `records.decision.Decision`.
    reasons : list of str or None
        The reasons of each row as JSON.
    """

    rows: bytes
    read_as: str
    reasons: list[str] | None


def keep_rows(schema: Schema, rows: Rows, encoded: Encoded, reasons: list[str] | None) -> KeptRows:
    """Return the accepted rows of a block."""
    names = [name for name in (schema.identifier, *schema.names) if name in rows.batch.schema.names]
    batch = rows.batch.select(names)
    if encoded.violations:
        batch = take_rows(batch, np.flatnonzero(~encoded.wrong[rows.known_places]))
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    commas = [("comma", name) for name in schema.names if rows.decimals.get(name) == ","]
    return KeptRows(sink.getvalue().to_pybytes(), urlencode([("texts", "parse"), *commas]), reasons)
