"""Names of columns: their Unicode form, and the rules that make a column usable in every request, answer and table."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

Role = Literal["feature", "identifier", "label"]

BATCH = "customers"
"""The key of a JSON request that holds several customers."""

ROW = "row"
"""The column of row numbers, written in place of the identifier where a table does not have that column."""

ANSWER_NAMES = frozenset(
    {"probability", "churn", "model_version", "warnings", "predictions", "error", "reasons", BATCH, ROW}
)
"""Names that requests, answers and tables of scores use. The identifier stands beside them, so it can't have one."""

OWN_PREFIX = "__"
"""Columns that Spark jobs and pandas add for themselves begin with this."""

MAX_BYTES = 255
"""Longest name of a feature or a label, in bytes of UTF-8."""

MAX_IDENTIFIER_BYTES = 63
"""Longest name of the identifier, in bytes of UTF-8: PostgreSQL cuts off names of columns that are longer."""

_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
_BYTE_ORDER_MARK = "\ufeff"


def normalize(text: str) -> str:
    """Return a text in Unicode's form NFC: "é" as one character, however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def normalize_names(names: Iterable[str]) -> list[str]:
    """Return the names of a table's columns as a schema holds them: in NFC, without blanks at their ends."""
    return [normalize(name.strip()) for name in names]


def normalize_keys(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with its keys in NFC; of keys that become the same, the last one counts, as in JSON."""
    if all(map(str.isascii, record)):
        return record
    return {normalize(key): value for key, value in record.items()}


def find_fault(name: str, role: Role) -> str | None:
    """Return why a column can't have this name in a model, as a clause; None if it can.

    Parameters
    ----------
    name : str
    role : {"feature", "identifier", "label"}
        What the column is used for. The identifier's name is also a column of every table of scores.
    """
    longest = MAX_IDENTIFIER_BYTES if role == "identifier" else MAX_BYTES
    fault = None
    if not name.strip():
        fault = "the name is empty"
    elif name != name.strip():
        fault = "the name begins or ends with a blank"
    elif bad := next((c for c in name if c == _BYTE_ORDER_MARK or unicodedata.category(c) in _UNPRINTABLE), None):
        fault = f"the name holds a line break or control character (U+{ord(bad):04X})"
    elif len(name.encode()) > longest:
        fault = f"the name has {len(name.encode())} bytes, and {longest} are allowed"
    elif name.startswith(OWN_PREFIX):
        fault = f"names that begin with {OWN_PREFIX} are reserved"
    elif role == "feature" and name == BATCH:
        fault = "the service uses that name"
    elif role == "identifier" and name.casefold() in ANSWER_NAMES:
        fault = "the service uses that name for a field of its answers"
    elif role == "identifier" and ('"' in name or "\\" in name):
        fault = "the name holds a quote or a backslash"
    return fault


def find_alike(names: Iterable[str]) -> list[str]:
    """Return the names that differ from another one at most in upper and lower case or in their Unicode form.

    Databases and Spark take such names for the same column.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[normalize(name).casefold()].append(name)
    return [name for alike in found.values() if len(alike) > 1 for name in alike]


def shorten(name: str) -> str:
    """Return a name for a message: quoted, with its control characters escaped, cut off where it is very long."""
    shown = repr(name)
    return shown if len(shown) <= MAX_BYTES else f"{shown[:80]}…'"
