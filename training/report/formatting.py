"""Formatting of numbers and text for the report and the model card."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from training.report.profit import break_even

if TYPE_CHECKING:
    from churn.measures.intervals import Interval
    from training.report.data import Costs

NONE = "\u2013"
"""Placeholder for an undefined number."""
MINUS = "\u2212"
TIMES = "\u00d7"

_MARKDOWN = re.compile(r"([\\`*_\[\]#|~])")


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share as a percentage."""
    if value is None or math.isnan(value):
        return NONE
    return _sign(f"{value:.{digits}%}")


def decimal(value: float | None, digits: int = 4) -> str:
    """Format a number with the given number of decimals, and zero without a sign."""
    if value is None or math.isnan(value):
        return NONE
    return _sign(f"{value:.{digits}f}")


def _sign(text: str) -> str:
    return text.replace("-", MINUS if re.search("[1-9]", text) else "")


def count(value: float) -> str:
    """Format an integer with thousands separators."""
    return f"{value:,.0f}"


def decimal_range(interval: Interval, digits: int = 4) -> str:
    """Format the bounds of an interval; empty if they are undefined."""
    if math.isnan(interval.low):
        return ""
    return f"{decimal(interval.low, digits)} to {decimal(interval.high, digits)}"


def percent_range(interval: Interval, digits: int = 1) -> str:
    """Format the bounds of an interval as percentages; empty if they are undefined."""
    if math.isnan(interval.low):
        return ""
    return f"{percent(interval.low, digits)} to {percent(interval.high, digits)}"


def markdown(text: object) -> str:
    """Escape any text for Markdown, and for HTML generated from it, on one line."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", line)


def code(text: object) -> str:
    """Format any text as inline code in Markdown, even if it contains backticks."""
    line = " ".join(str(text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"`{line}`"


def explain_break_even(costs: Costs) -> str:
    """Return a sentence that states when contacting a customer is profitable."""
    threshold = break_even(costs)
    value, offer, contact = (f"{amount:g}" for amount in (costs.customer_value, costs.offer_cost, costs.contact_cost))
    if threshold is None:
        return "With these costs, contacting a customer is never profitable."
    gain = f"{costs.accept_rate:g} {TIMES} ({value} {MINUS} {offer}) + {offer}"
    return f"Contacting is profitable above a probability of ({offer} + {contact}) / ({gain}) = {threshold:.4f}."
