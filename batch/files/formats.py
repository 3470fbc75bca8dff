"""File formats, determined by the file name or by an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from churn.errors import TableError

Kind = Literal["csv", "parquet", "arrow", "arrows"]
Codec = Literal["gzip", "zstd"]

_ENDINGS: dict[str, Kind] = {
    "csv": "csv",
    "txt": "csv",
    "parquet": "parquet",
    "pq": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
    "arrows": "arrows",
}
_CODECS: dict[str, Codec] = {"gz": "gzip", "zst": "zstd"}

NAMES = ("csv", "csv.gz", "csv.zst", "parquet", "arrow", "arrows")
"""Names of formats: ``arrow`` is the Arrow IPC file, ``arrows`` the stream."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes
    ----------
    kind : {"csv", "parquet", "arrow", "arrows"}
    codec : {"gzip", "zstd"} or None
        Compression of a CSV file.
    """

    kind: Kind
    codec: Codec | None = None

    @property
    def name(self) -> str:
        """One of `NAMES`."""
        return self.kind + {"gzip": ".gz", "zstd": ".zst", None: ""}[self.codec]


def find_format(name: str, told: str | None = None) -> Format:
    """Return the format of a file.

    Parameters
    ----------
    name : str
        File name.
    told : str, optional
        One of `NAMES`; takes precedence over the file name.

    Raises
    ------
    TableError
        If neither determines the format.
    """
    words = (told or name.rpartition("/")[2]).lower().split(".")
    codec = _CODECS.get(words[-1])
    kind = _ENDINGS.get(words[-2 if codec and len(words) > 1 else -1])
    if kind is None or (told is None and len(words) == 1) or (codec is not None and kind != "csv"):
        endings = ", ".join(f".{ending}" for ending in _ENDINGS)
        raise TableError(f"{name}: unknown file format; allowed: {endings}, .csv.gz, .csv.zst")
    return Format(kind, codec)
