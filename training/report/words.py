"""How the report and the model card write numbers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from training.report.profit import break_even

if TYPE_CHECKING:
    from training.report.data import Costs
    from training.report.intervals import Interval

NONE = "\u2013"
"""Stands for a number there is not."""
MINUS = "\u2212"
TIMES = "\u00d7"

_MARKDOWN = re.compile(r"([\\`*_\[\]#|~])")


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share as a percentage."""
    if value is None or math.isnan(value):
        return NONE
    return _sign(f"{value:.{digits}%}")


def decimal(value: float | None, digits: int = 4) -> str:
    """Write a number with that many digits, and zero without a sign."""
    if value is None or math.isnan(value):
        return NONE
    return _sign(f"{value:.{digits}f}")


def _sign(text: str) -> str:
    return text.replace("-", MINUS if re.search("[1-9]", text) else "")


def count(value: float) -> str:
    """Write a whole number with its thousands apart."""
    return f"{value:,.0f}"


def decimal_range(interval: Interval, digits: int = 4) -> str:
    """Write an interval's ends; nothing if they are not known."""
    if math.isnan(interval.low):
        return ""
    return f"{decimal(interval.low, digits)} to {decimal(interval.high, digits)}"


def percent_range(interval: Interval, digits: int = 1) -> str:
    """Write an interval's ends as percentages; nothing if they are not known."""
    if math.isnan(interval.low):
        return ""
    return f"{percent(interval.low, digits)} to {percent(interval.high, digits)}"


def markdown(text: object) -> str:
    """Write any text so that Markdown, and the HTML it may become, takes it as it is, on one line."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", line)


def code(text: object) -> str:
    """Write any text as inline code of Markdown, whatever backticks it holds."""
    line = " ".join(str(text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"`{line}`"


def explain_break_even(costs: Costs) -> str:
    """Say in one sentence when contacting a customer pays."""
    threshold = break_even(costs)
    value, offer, contact = (f"{amount:g}" for amount in (costs.customer_value, costs.offer_cost, costs.contact_cost))
    if threshold is None:
        return "With these costs contacting a customer never pays, however likely to leave."
    gain = f"{costs.accept_rate:g} {TIMES} ({value} {MINUS} {offer}) + {offer}"
    return f"Contacting a customer pays from a probability of ({offer} + {contact}) / ({gain}) = {threshold:.4f} on."
