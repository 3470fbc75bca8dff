"""Write the report as a self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from churn.measures.intervals import RESAMPLES
from training.report import formatting
from training.report.analysis import analyse
from training.report.families import list_families
from training.report.figures_decisions import draw_calibration, draw_profit, draw_profit_by_share
from training.report.figures_groups import MAX_BARS, draw_importance, draw_subgroups
from training.report.figures_history import draw_history
from training.report.figures_ranking import draw_gains, draw_lift, draw_precision_recall, draw_roc
from training.report.figures_reasons import MAX_DOTS, SWARMS, draw_beeswarm, draw_dependences, draw_mean_reasons
from training.report.profit import acceptance_law
from training.report.subgroups import SMALL_CUSTOMERS, SMALL_LEAVERS, widest_gap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from markupsafe import Markup

    from training.report.analysis import Analysis
    from training.report.data import ReportData
    from training.report.reasons import Reasoned

TEMPLATE = "report.html.j2"


def make_environment(package: str = "training.report") -> Environment:
    """Return the Jinja environment with filters for numbers, and the templates of a package beside our own."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("training.report", ".")]),
        autoescape=select_autoescape(("html.j2",), default=False),  # Markdown has a separate filter for escaping
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (
        formatting.percent,
        formatting.decimal,
        formatting.count,
        formatting.decimal_range,
        formatting.percent_range,
        formatting.markdown,
        formatting.code,
    ):
        environment.filters[function.__name__] = function
    return environment


def write_report(path: Path, data: ReportData) -> None:
    """Write the report as a self-contained HTML file; deterministic.

    Parameters
    ----------
    path : Path
    data : ReportData

    Raises
    ------
    ValueError
        If no part has both classes.
    """
    analysis = analyse(data)
    template = make_environment().get_template(TEMPLATE)
    html = template.render(describe(data, analysis), figures=_draw(data, analysis))
    path.write_text(html, encoding="utf-8", newline="\n")


def describe(data: ReportData, analysis: Analysis) -> dict[str, Any]:
    """Return the variables of both templates."""
    scores = analysis.scores if data.scores is None else data.scores
    return {
        "data": data,
        "analysis": analysis,
        "measures": analysis.measures,
        "judged": analysis.scores[analysis.part],
        "scores": scores,
        "parts": [name for name in ("train", "validation", "test") if name in scores],
        "silent": int((~analysis.importance.matters).sum()),
        "most_bars": MAX_BARS,
        "cross_validated": data.is_cross_validated,
        "settings": list(list_settings(data.settings)),
        "gap": widest_gap(analysis.subgroups),
        "resamples": RESAMPLES,
        "small_customers": SMALL_CUSTOMERS,
        "small_leavers": SMALL_LEAVERS,
        "dropped": list_dropped(data),
        "families": list_families(data.details),
        "kinds": {feature.kind for feature in data.schema.features},
        "has_open": any(feature.open for feature in data.schema.features),
        "law": acceptance_law(data.costs),
        "widest_reason": _find_widest(analysis.reasons),
        "most_dots": MAX_DOTS,
        "swarms": SWARMS,
        "break_even_words": formatting.explain_break_even(data.costs),
    }


def _find_widest(reasoned: Reasoned | None) -> float:
    """Return the largest absolute value among the reasons of the typical customers."""
    typical = [] if reasoned is None else reasoned.typical
    return max((abs(reason.points) for customer in typical for reason in customer.reasons), default=0.0)


def list_dropped(data: ReportData) -> list[tuple[str, str]]:
    """Return the dropped columns that are not mentioned in a note, with the reasons."""
    dropped = dict(data.source.get("columns_dropped") or {})
    told = {name for name in dropped for note in data.notes if note.startswith(f"{name} ")}
    return [(name, str(reason)) for name, reason in dropped.items() if name not in told]


def list_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each option with its value as text; groups of options are flattened."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from list_settings(value)
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        else:
            yield name, formatting.NONE if value is None else str(value)


def _draw(data: ReportData, analysis: Analysis) -> dict[str, Markup | list[Markup] | None]:
    part, costs, measures = data.parts[analysis.part], data.costs, analysis.measures
    return {
        "history": draw_history(data.history),
        "roc": draw_roc(part, data.threshold, measures["roc_auc"].value),
        "precision_recall": draw_precision_recall(part, data.threshold, measures["average_precision"].value),
        "gains": draw_gains(part),
        "lift": draw_lift(part),
        "calibration": draw_calibration(part),
        "profit": draw_profit(part, costs, data.threshold, analysis.break_even),
        "profit_by_share": draw_profit_by_share(part, costs),
        "importance": draw_importance(data.schema.names, analysis),
        "subgroups": draw_subgroups(analysis),
        **_draw_reasons(data, analysis.reasons),
    }


def _draw_reasons(data: ReportData, reasoned: Reasoned | None) -> dict[str, Markup | list[Markup] | None]:
    if reasoned is None or not reasoned.order:
        return {"mean_reasons": None, "beeswarm": None, "dependences": []}
    return {
        "mean_reasons": draw_mean_reasons(data.schema, reasoned),
        "beeswarm": draw_beeswarm(data.schema, reasoned),
        "dependences": draw_dependences(data.schema, reasoned),
    }
