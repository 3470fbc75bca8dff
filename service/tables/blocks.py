"""Results of a table, block by block. Importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.tables.scored import ScoredRows
    from service.tables.kept_rows import KeptRows
    from service.tables.split import Split

CODEC = pa.Codec("zstd", compression_level=1)


class ResponsePart(NamedTuple):
    """A part of a response, which may be compressed while it is held."""

    data: bytes
    size: int
    is_compressed: bool

    def unpack(self) -> bytes:
        """Return the part uncompressed."""
        if not self.is_compressed:
            return self.data
        data: bytes = CODEC.decompress(self.data, self.size, asbytes=True)
        return data


class ResponseBlock(NamedTuple):
    """Results of a block of rows.

    Attributes
    ----------
    answer : ResponsePart
        Encoded part of the response.
    scored : ScoredRows or None
        None for the rest of these rows, and for the end of the response.
    stamps : sequence of float
        As `service.observe.stages.Stamps`; empty if `scored` is None.
    kept : KeptRows or None
        What is recorded; None if nothing is.
    split : Split or None
        Which of the rows the canary scored; None if it scored none.
    fallbacks : int
        Rows that were chosen for the canary, and that it could not score.
    """

    answer: ResponsePart
    scored: ScoredRows | None = None
    stamps: Sequence[float] = ()
    kept: KeptRows | None = None
    split: Split | None = None
    fallbacks: int = 0


PROGRESS = ResponseBlock(ResponsePart(b"", 0, is_compressed=False))
"""Between two blocks: a customer was explained, and others may use the thread."""
