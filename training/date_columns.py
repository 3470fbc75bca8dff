"""Detection of date columns and their formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.dates import FORMATS, ISO, DetectedFormat, describe_format, read_date, write_date
from churn.feature import Feature
from training.cells import count_words, is_text, select_present

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

DATE_SHARE = 0.9
"""A text column is a date column if this share of its cells are dates; the others are faults."""


HEAD = 200
"""Number of the most frequent strings of which a format must match at least one."""


def find_dates(columns: Mapping[str, pa.Array]) -> dict[str, DetectedFormat]:
    """Find the date columns of a table.

    If the order of day and month is ambiguous in a column, the other date columns decide, if they agree.

    Returns
    -------
    dict of str to DetectedFormat
        Result for each date column.
    """
    found = {
        name: find_format(count_words(select_present(column))) for name, column in columns.items() if is_text(column)
    }
    found = {name: dates for name, dates in found.items() if dates.choices}
    decided = {dates.format for dates in found.values() if dates.format}
    for name, dates in found.items():
        agreed = [form for form in dates.choices if form in decided]
        if dates.format is None and len(agreed) == 1:
            found[name] = DetectedFormat(agreed[0], dates.choices)
    return found


def find_format(counts: Mapping[str, int]) -> DetectedFormat:
    """Find the format in which most strings are dates.

    Parameters
    ----------
    counts : mapping of str to int
        Number of rows of each string, the most frequent first.
    """
    rows = sum(counts.values())
    least = DATE_SHARE * rows
    shares: dict[str, int] = {}
    head = list(counts)[:HEAD]
    for form in FORMATS:
        if all(read_date(text, form) is None for text in head):
            continue
        wrong = 0
        for text, count in counts.items():
            if read_date(text, form) is None:
                wrong += count
                if rows - wrong < least:
                    break
        else:
            shares[form] = rows - wrong
    if not rows or not shares:
        return DetectedFormat(None, ())
    best = max(shares.values())
    choices = tuple(form for form, count in shares.items() if count == best)
    if ISO in choices:  # always accepted in addition to another format
        return DetectedFormat(ISO, (ISO,))
    return DetectedFormat(choices[0] if len(choices) == 1 else None, choices)


def explain_doubt(found: DetectedFormat) -> str:
    """Return the reason for dropping a date column with an ambiguous format."""
    forms = " or ".join(map(describe_format, found.choices))
    example = f'kind = "date", format = "{found.choices[0]}"'
    return f"its dates can be read as {forms}; a --schema says which ({example})"


def describe_dates(name: str, present: pa.Array, form: str, *, nullable: bool) -> Feature:
    """Return the feature for a date column; its example is the median date in ISO 8601."""
    days = sorted(day for day in (read_date(text, form) for text in present.unique().to_pylist()) if day is not None)
    example = write_date(days[len(days) // 2])
    return Feature(name, "date", format="" if form == ISO else form, nullable=nullable, example=example)
