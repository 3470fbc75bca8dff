"""Say what a reason means in a sentence that a customer can be read."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from churn.dates import write_date

if TYPE_CHECKING:
    from churn.feature import Feature

LONGEST_SUBJECT = 60
"""Characters of a description; fields with longer ones are called by their name."""

NOUN_WORDS = 3
"""Descriptions of up to this number of words are taken as a noun: "Balance of 3 euros", not "Balance (3 euros)"."""

SMALLEST = 0.05
"""Percentage points that are below 0.1 when they are rounded."""

RARE, FEW = 0.01, 0.05
"""Shares of customers up to which one has hardly any like it, and few."""

UNKNOWN, OTHER_VALUE = "unknown", "other than the listed values"

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip

_UNCOUNTED = ("ss", "xes", "ches", "shes", "ies")
"""Endings whose singular is not found by removing an s."""


def write_sentence(feature: Feature, value: float, points: float, *, is_exact: bool = True) -> str:
    """Return what a field's value does to the probability.

    Parameters
    ----------
    feature : Feature
        Its description, or its name if it has none, and its unit are used.
    value : float
        Value of the raw matrix of `churn.columns`; NaN if it is missing.
    points : float
        What it adds to the probability, from -1 to 1. The sentence has percentage points.
    is_exact : bool
        Whether `points` is not an estimate.
    """
    return f"{_write_subject(feature, value)}: {_write_effect(points, is_exact=is_exact)}"


def write_support_sentence(share: float, feature: Feature, low: float | None, high: float | None) -> str:
    """Return how many customers are like one, and between which probabilities a network may say.

    Parameters
    ----------
    share : float
        Share of customers who are as far from their neighbours or farther.
    feature : Feature
        The one that adds most to the distance.
    low, high : float or None
        Probabilities from 0 to 1.
    """
    if share > FEW:
        said = "Many training customers are like this one."
    else:
        count = "Hardly any" if share <= RARE else "Few"
        percent = f"{100 * share:.1f} %"
        said = (
            f"{count} training customers are like this one: at most {percent} of customers are so far from all others, "
            f"most of all by {_name(feature)}."
        )
    if low is None or high is None:
        return said
    return f"{said} Trained on other customers, the network would say {_write_range(low, high)} in nine of ten cases."


def _write_range(low: float, high: float) -> str:
    first, last = (f"{100 * end:.1f}" for end in (low, high))
    return f"about {first} %" if first == last else f"{first} to {last} %"


def _write_subject(feature: Feature, value: float) -> str:
    name = _name(feature)
    words = name.split()
    if value != value:  # NaN
        return f"{name} ({UNKNOWN})"
    if not feature.is_numeric:
        return f"{name} ({_write_word(feature, value)})"
    amount = _write_amount(value, feature.unit)
    return f"{name} of {amount}" if len(words) <= NOUN_WORDS and "of" not in words else f"{name} ({amount})"


def _name(feature: Feature) -> str:
    """Return the first sentence of the description if it is short, else the name."""
    text = " ".join(feature.description.split())
    text = text.partition(". ")[0].rstrip(".:")
    return text[0].upper() + text[1:] if 0 < len(text) <= LONGEST_SUBJECT else feature.name


def _write_word(feature: Feature, value: float) -> str:
    if feature.kind == "flag":
        return "yes" if value else "no"
    if feature.kind == "date":
        day = date.fromisoformat(write_date(value))
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
    place = int(value)
    return feature.categories[place] if place < len(feature.categories) else OTHER_VALUE


def _write_amount(value: float, unit: str) -> str:
    """Return a number with commas between thousands from 10,000 on, so that years keep their form, and its unit."""
    shown = round(value, 6) if abs(value) >= 1e-3 else value
    if shown == int(shown):
        number = f"{int(shown):,}" if abs(shown) >= 10_000 else f"{int(shown)}"
    else:
        number = f"{shown:,}" if abs(shown) >= 10_000 else f"{shown}"
    if not unit:
        return number
    if number == "1" and unit.endswith("s") and not unit.endswith(_UNCOUNTED):
        unit = unit[:-1]
    return f"{number} {unit}"


def _write_effect(points: float, *, is_exact: bool) -> str:
    if points == 0:
        return "does not change the probability"
    verb = "raises" if points > 0 else "lowers"
    percent = abs(100 * points)
    amount = "less than 0.1" if percent < SMALLEST else f"{'' if is_exact else 'about '}{percent:.1f}"
    return f"{verb} the probability by {amount} points"
