"""Normalisation of column names, and rules for names that work in every request, response and table."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

Role = Literal["feature", "identifier", "label"]

BATCH = "customers"
"""Key of several customers in a JSON request."""

ROW = "row"
"""Column of row numbers, which replaces the identifier if a table has none."""

ANSWER_NAMES = frozenset(
    {"probability", "churn", "model_version", "warnings", "predictions", "error", "reasons", BATCH, ROW}
)
"""Names used in requests, responses and tables of scores, which the identifier can't have."""

IDENTIFIER_LIMIT = 2**63
"""Identifiers that are integers are below this, and at least its negative."""

ALLOWED_IDENTIFIER = f"a text, or a whole number from {-IDENTIFIER_LIMIT} to {IDENTIFIER_LIMIT - 1} (64 bits, signed)"

RESULT_PREFIX = "predicted_"
"""Prefix of the names of results that another column has."""

OWN_PREFIX = "__"
"""Prefix of columns that Spark jobs and pandas add."""

MAX_BYTES = 255
"""Maximum length of the name of a feature or label, in bytes of UTF-8."""

MAX_IDENTIFIER_BYTES = 63
"""Maximum length of the name of the identifier, in bytes of UTF-8; PostgreSQL truncates longer names."""

_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
_BYTE_ORDER_MARK = "\ufeff"


def normalize(text: str) -> str:
    """Return a string in Unicode normalisation form NFC, in which "é" is one character."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def normalize_names(names: Iterable[str]) -> list[str]:
    """Return column names in NFC without surrounding white space, as in a schema."""
    return [normalize(name.strip()) for name in names]


def normalize_keys(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with keys in NFC; if keys become equal, the last one counts, as in JSON."""
    if all(map(str.isascii, record)):
        return record
    return {normalize(key): value for key, value in record.items()}


def find_fault(name: str, role: Role) -> str | None:
    """Return why a column can't have this name, as a clause, or None.

    Parameters
    ----------
    name : str
    role : {"feature", "identifier", "label"}
        Role of the column. The identifier is also a column in every table of scores.
    """
    longest = MAX_IDENTIFIER_BYTES if role == "identifier" else MAX_BYTES
    fault = None
    if all(c.isspace() or unicodedata.category(c) == "Cf" for c in name):  # Cf: invisible, such as U+200B
        fault = "the name is empty"
    elif name != name.strip():
        fault = "the name begins or ends with white space"
    elif bad := next((c for c in name if c == _BYTE_ORDER_MARK or unicodedata.category(c) in _UNPRINTABLE), None):
        fault = f"the name contains a line break or control character (U+{ord(bad):04X})"
    elif len(name.encode()) > longest:
        fault = f"the name has {len(name.encode())} bytes; allowed: {longest}"
    elif name.startswith(OWN_PREFIX):
        fault = f"names that begin with {OWN_PREFIX} are reserved"
    elif role == "feature" and name == BATCH:
        fault = "the service uses this name"
    elif role == "identifier" and name.casefold() in ANSWER_NAMES:
        fault = "the service uses this name for a field of its responses"
    elif role == "identifier" and ('"' in name or "\\" in name):
        fault = "the name contains a quote or a backslash"
    return fault


def find_alike(names: Iterable[str]) -> list[str]:
    """Return the names that differ from another name only in case or Unicode form.

    Databases and Spark treat such names as the same column.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[normalize(name).casefold()].append(name)
    return [name for alike in found.values() if len(alike) > 1 for name in alike]


def name_results(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return the names of results, with `RESULT_PREFIX` where another column has the same name, ignoring case."""
    known = {name.casefold() for name in taken}
    found = []
    for name in names:
        while name.casefold() in known:
            name = RESULT_PREFIX + name
        found.append(name)
    return found


def shorten(name: str) -> str:
    """Return a name for messages: quoted, with control characters escaped, truncated if it is long."""
    shown = repr(name)
    return shown if len(shown) <= MAX_BYTES else f"{shown[:80]}…'"
