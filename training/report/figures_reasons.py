"""Figures of reasons: importance, beeswarm, dependence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from churn.dates import write_date
from training.report.figures_groups import MAX_BARS, shorten
from training.report.svg import BLUE, GREY, INK, ORANGE, render

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema
    from training.report.reasons import Reasoned

MAX_DOTS = 120
"""Customers in the figures with a dot for each: a page of more would be slow."""
SWARMS, DEPENDENCES = 12, 6
"""Columns in the beeswarm and in the pictures of dependence, at most."""
MAX_LEVELS = 6
"""Levels of a category that are named in a picture of dependence; the others are drawn as one."""
SWARM_HEIGHT, SWARM_BINS = 0.38, 60
OTHERS = "(others)"


def draw_mean_reasons(schema: Schema, reasoned: Reasoned) -> Markup:
    """Draw the mean absolute Shapley value of each column."""
    order = reasoned.order[:MAX_BARS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(np.arange(len(order)), 100 * reasoned.means[order], color=BLUE, height=0.65)
        _name_rows(axes, [schema.names[column] for column in order])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("mean change of the probability (points)")

    text = ", ".join(f"{schema.names[column]} {100 * reasoned.means[column]:.2f}" for column in order)
    return render("mean-reasons", "Mean absolute Shapley value", text, draw, (5.4, 1.0 + 0.3 * max(1, len(order))))


def draw_beeswarm(schema: Schema, reasoned: Reasoned) -> Markup:
    """Draw the Shapley values of customers, a row of dots for each column."""
    order = reasoned.order[:SWARMS]
    raw, points = reasoned.raw[:MAX_DOTS], 100 * reasoned.points[:MAX_DOTS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        span = float(np.abs(points[:, order]).max(initial=0)) or 1.0
        for row, column in enumerate(order):
            heights = _spread(points[:, column], 2 * span / SWARM_BINS)
            colours = _colour(schema.features[column], raw[:, column])
            for colour in dict.fromkeys(colours):
                here = np.array([each == colour for each in colours])
                axes.plot(points[here, column], row + heights[here], "o", color=colour, markersize=3, linewidth=0)
        axes.axvline(0, color=GREY, linewidth=1)
        _name_rows(axes, [schema.names[column] for column in order])
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.set_xlabel("change of the probability (points)")
        marks = [(BLUE, "low value, or no"), (ORANGE, "high value, or yes"), (GREY, "other")]
        handles = [Line2D([], [], marker="o", linewidth=0, markersize=5, color=colour) for colour, _ in marks]
        axes.legend(
            handles, [words for _, words in marks], loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3,
            handletextpad=0.1, columnspacing=1.0,
        )  # fmt: skip

    text = ", ".join(
        f"{schema.names[column]} from {points[:, column].min():.1f} to {points[:, column].max():.1f} points"
        for column in order
    )
    size = (5.8, 1.4 + SWARM_HEIGHT * max(1, len(order)))
    return render("beeswarm", "Shapley values of customers by column", text, draw, size)


def draw_dependences(schema: Schema, reasoned: Reasoned) -> list[Markup]:
    """Draw the Shapley values of each of the strongest columns by its value."""
    return [
        _draw_dependence(
            number, schema.features[column], reasoned.raw[:MAX_DOTS, column], reasoned.points[:MAX_DOTS, column]
        )
        for number, column in enumerate(reasoned.order[:DEPENDENCES])
    ]


def _draw_dependence(
    number: int, feature: Feature, values: NDArray[np.float64], points: NDArray[np.float64]
) -> Markup:  # fmt: skip
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=1)
        places, names = _place(feature, values)
        axes.plot(places, 100 * points, "o", color=BLUE, markersize=3.5, linewidth=0)
        if names:
            axes.set_xticks(
                range(len(names)), [shorten(name) for name in names], rotation=90 if _are_wide(names) else 0
            )
            axes.set_xlim(-0.6, len(names) - 0.4)
        elif feature.kind == "date":
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: write_date(day)))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=feature.kind == "integer"))
        axes.set_xlabel(shorten(feature.name) + (f" ({shorten(feature.unit)})" if feature.unit else ""))
        axes.set_ylabel("points")

    gaps = int(np.isnan(values).sum()) if feature.is_quantity else 0
    words = f"from {100 * points.min():.1f} to {100 * points.max():.1f} points" + (f"; {gaps} unknown" if gaps else "")
    return render(f"dependence-{number}", f"Shapley values by {feature.name}", words, draw, (3.6, 2.7))


def _place(feature: Feature, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[str]]:
    """Return where the dots are, and the names of the places if they are levels."""
    if feature.is_quantity:
        return values, []
    known = ["no", "yes"] if feature.kind == "flag" else list(feature.levels)
    codes = np.where(np.isnan(values), len(known), values).astype(int)
    counts = np.bincount(codes, minlength=len(known) + 1)
    shown = [code for code in np.argsort(-counts, kind="stable")[:MAX_LEVELS].tolist() if counts[code]]
    shown.sort()
    names = [[*known, "unknown"][code] for code in shown]
    if counts.sum() > counts[shown].sum():
        names.append(OTHERS)
    places = np.array([shown.index(code) if code in shown else len(shown) for code in codes.tolist()], float)
    # Side by side, so that equal values are seen.
    rank = np.array([int((codes[:row] == code).sum()) for row, code in enumerate(codes.tolist())])
    return places + (rank * 0.618 % 1 - 0.5) * 0.5, names


def _are_wide(names: list[str]) -> bool:
    return sum(len(shorten(name)) for name in names) > 34  # characters that fit below the axis


def _spread(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return heights of dots, so that dots of about the same value are above one another."""
    bins = np.rint(values / width).astype(int)
    heights = np.zeros(len(values))
    most = max(1, int(np.unique(bins, return_counts=True)[1].max()))
    for each in np.unique(bins):
        here = np.flatnonzero(bins == each)
        steps = np.arange(len(here)) - (len(here) - 1) / 2
        heights[here] = steps * min(0.12, 0.8 / most)
    return heights


def _colour(feature: Feature, values: NDArray[np.float64]) -> list[str]:
    """Return a colour for each value: of the lower or upper third of the numbers, of no or yes, or of others."""
    if feature.kind == "category":
        return [GREY] * len(values)
    if feature.kind == "flag":
        return [GREY if value != value else ORANGE if value else BLUE for value in values.tolist()]
    if np.isnan(values).all():
        return [GREY] * len(values)
    low, high = np.nanquantile(values, (1 / 3, 2 / 3))
    return [
        ORANGE if value > high else BLUE if value < low or low == high == value else GREY for value in values.tolist()
    ]


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(np.arange(len(names)), [shorten(name) for name in names])
    axes.tick_params(axis="y", labelcolor=INK, length=0)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
