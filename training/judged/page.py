"""Write the report on judged decisions as a self-contained HTML file."""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, Any

from churn.runtime.files import replace_text
from records.judging.measures import read_interval
from training.judged.figures import draw_groups, draw_months
from training.report.page import make_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEMPLATE = "judgement.html.j2"


def write_judgement(path: Path, judgement: Mapping[str, Any]) -> None:
    """Write the report; the same judgement gives the same file.

    Parameters
    ----------
    path : Path
    judgement : mapping
        See `records.judging.judge.judge`.
    """
    judged = [month for month in judgement["months"] if month["judged"]]
    last = judged[-1] if judged else None
    template = make_environment("training.judged").get_template(TEMPLATE)
    html = template.render(
        judgement=judgement,
        last=last,
        interval=read_interval,
        months=draw_months(judgement) if judgement["months"] else [],
        groups=draw_groups(last["groups"]) if last else None,
        warnings=list_warnings(judgement),
    )
    replace_text(path, html)


def list_warnings(judgement: Mapping[str, Any]) -> list[str]:
    """Return what should be read before the numbers, a sentence each."""
    found = []
    for month in judgement["months"]:
        over = month["judged"] + month["unknown"]
        name, measures = month["month"], month["measures"]
        if over and month["unknown"] > over / 5:
            found.append(
                f"{name}: of {over:,} customers whose horizon is over, the outcome of {month['unknown']:,} is not "
                "known. If they are others than the rest, the numbers are biased."
            )
        if month["judged"] and measures["leavers"] in (0, measures["customers"]):
            which = "left" if measures["leavers"] else "stayed"
            found.append(f"{name}: all judged customers {which}; load rows of the others, too.")
    for version, trained in judgement["training"].items():
        measures = (judgement["versions"].get(version) or {}).get("measures", {})
        auc, before = read_interval(measures, "roc_auc"), read_interval(trained, "roc_auc")
        # As the alert: below the interval, and beyond the interval of the difference.
        if auc.value < before.low and before.value - auc.value > hypot(before.value - before.low, auc.high - auc.value):
            found.append(
                f"Version {version} ranks worse than in training: AUC {auc.value:.3f}, in training {before.value:.3f} "
                f"({before.low:.3f} to {before.high:.3f})."
            )
    return found
