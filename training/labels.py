"""Determine the two classes of the label."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.errors import TableError
from churn.names import normalize
from churn.tables.encode import simplify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from training.tables import Table

POSITIVE_WORDS = frozenset(
    {"1", "1.0", "1,0", "yes", "true", "y", "t", "exited", "churn", "churned", "left", "attrited", "attrited customer"}
)
NEGATIVE_WORDS = frozenset(
    {"0", "0.0", "0,0", "no", "false", "n", "f", "stayed", "retained", "existing", "existing customer", "active"}
)
"""Label values in lower case with a known meaning."""

LISTED = 5
"""Maximum number of label values in a message."""


class Occurrence(NamedTuple):
    """First occurrence of a label value.

    Attributes
    ----------
    text : str
        The original text of the value.
    where : str
        Position for messages, such as ``"line 4"``.
    """

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Classes:
    """The two label values in lower case.

    Attributes
    ----------
    left : str
        Value of customers who left.
    stayed : str
        Value of customers who stayed.
    """

    left: str
    stayed: str

    def encode(self, words: pa.Array) -> NDArray[np.float64]:
        """Return labels, shape (n,): 1 for customers who left, 0 for those who stayed, NaN for any other word."""
        encoded = np.full(len(words), np.nan)
        for word, number in ((self.left, 1.0), (self.stayed, 0.0)):
            encoded[find_word(words, word)] = number
        return encoded


def read_words(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the cells of a column as stripped strings in lower case; null for missing cells."""
    text = compute.utf8_lower(compute.utf8_normalize(simplify(column, as_text=True), form="NFC"))
    return compute.if_else(compute.equal(text, "?"), pa.scalar(None, pa.string()), text)


def fold(word: str) -> str:
    """Normalise a string like `read_words`."""
    return normalize(word.strip()).lower()


def find_word(words: pa.Array | pa.ChunkedArray, word: str | None) -> NDArray[np.bool_]:
    """Return a mask of the cells that are equal to `word`, or missing if `word` is None.

    Returns
    -------
    ndarray of bool, shape (len(words),)
    """
    found = words.is_null() if word is None else compute.equal(words, word).fill_null(False)
    return np.asarray(found, dtype=bool)


def find_classes(table: Table, label: str, positive: str | None = None, negative: str | None = None) -> Classes:
    """Return the two classes of a table's label; TableError as for `choose_classes`."""
    column = table.columns[label]
    words = read_words(column)
    places = {
        word: Occurrence(str(column[row]), f"line {table.lines[row]}")
        for word in words.unique().drop_null().to_pylist()
        for row in [compute.index(words, word).as_py()]
    }
    return choose_classes(f"{table.path}: label {label}", places, positive, negative)


def choose_classes(
    where: str,
    places: Mapping[str, Occurrence],
    positive: str | None = None,
    negative: str | None = None,
    *,
    are_all: bool = True,
) -> Classes:
    """Determine which label values mean leaving and staying.

    Parameters
    ----------
    where : str
        Table and label, for messages.
    places : mapping of str to Occurrence
        Distinct label values in lower case.
    positive, negative : str or None
        Values given by the user. If both are given, there may be other values.
    are_all : bool
        Whether `places` has all values.

    Raises
    ------
    TableError
        If there are not exactly two values, their meaning is unclear, or a given value does not occur.
    """
    found = sorted(places)
    if not found:
        raise TableError(f"{where} is empty")
    if len(found) == 1:
        raise TableError(f"{where} has one value ({places[found[0]].text!r}): there is nothing to predict")
    yes = _find_told(where, places, "--positive", positive)
    no = _find_told(where, places, "--negative", negative)
    if yes is not None and yes == no:
        raise TableError(f"{where}: --positive and --negative are the same value, {positive!r}")
    if yes is not None and no is not None:
        return Classes(yes, no)
    if len(found) > 2:
        raise TableError(_explain_many(where, places, yes, no, are_all=are_all))
    for classes in (Classes(*found), Classes(*found[::-1])):
        if classes.left == yes or classes.stayed == no:
            return classes
        if (yes, no) == (None, None) and classes.left in POSITIVE_WORDS and classes.stayed in NEGATIVE_WORDS:
            return classes
    raise TableError(f"{where} is {_list_texts(places, ' or ')}: say which one means leaving with --positive")


def _find_told(where: str, places: Mapping[str, Occurrence], option: str, word: str | None) -> str | None:
    """Return a value given by the user in lower case; TableError if it does not occur."""
    if word is None:
        return None
    found = fold(word)
    if found not in places:
        raise TableError(f"{where}: {option} {word!r} is not one of its values: {_list_texts(places)}")
    return found


def _explain_many(
    where: str, places: Mapping[str, Occurrence], yes: str | None, no: str | None, *, are_all: bool
) -> str:
    """Return the error message for a label with more than two values, with the possible options."""
    found = sorted(places)
    listed = ", ".join(f"{places[word].text!r} ({places[word].where})" for word in found[:LISTED])
    count = len(found) if are_all else f"more than {len(found) - 1}"
    yes = yes or next((word for word in found if word in POSITIVE_WORDS and word != no), found[0])
    rest = [word for word in found if word != yes]
    no = no or next((word for word in rest if word in NEGATIVE_WORDS), rest[0])
    other = next(word for word in found if word not in (yes, no))
    example = f"{where.rpartition(': label ')[2]}={places[other].text}"
    return (
        f"{where} has {count} values, and two are allowed: {listed}{', …' * (len(found) > LISTED or not are_all)}\n"
        f"Name the two classes, and rows of other values are left out: --positive {_quote(places, yes)} "
        f"--negative {_quote(places, no)}\nOr leave rows out by a value: --drop-rows {shlex.quote(example)}"
    )


def _list_texts(places: Mapping[str, Occurrence], glue: str = ", ") -> str:
    return glue.join(repr(places[word].text) for word in sorted(places))


def _quote(places: Mapping[str, Occurrence], word: str) -> str:
    return shlex.quote(places[word].text)
