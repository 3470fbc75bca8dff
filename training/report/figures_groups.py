"""Figures of permutation importance and subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.report.svg import BLUE, GREY, INK, ORANGE, PAPER, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from matplotlib.figure import Figure

    from training.report.analysis import Analysis


MAX_BARS = 20
"""Maximum number of columns in the figure of the permutation importance."""
MAX_NAME = 28


def shorten(name: str) -> str:
    """Shorten a name for a figure."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def draw_importance(names: Sequence[str], analysis: Analysis) -> Markup:
    """Draw the permutation importance of each column."""
    importance = analysis.importance
    order = np.argsort(-importance.means, kind="stable").tolist()
    if len(order) > MAX_BARS:  # omit columns without importance
        order = [position for position in order if importance.matters[position]][:MAX_BARS] or order[:MAX_BARS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        positions = np.arange(len(order))
        axes.barh(positions, importance.means[order], color=BLUE, height=0.65)
        axes.errorbar(
            importance.means[order],
            positions,
            xerr=2 * importance.deviations[order],
            fmt="none",
            ecolor=INK,
            elinewidth=1.2,
        )
        axes.set_yticks(positions, [shorten(names[position]) for position in order])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.axvline(0, color=GREY, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("increase of the log loss when shuffled (nats)")

    text = ", ".join(f"{names[position]} {importance.means[position]:.4f}" for position in order)
    return render("importance", "Permutation importance", text, draw, (5.4, 1.0 + 0.3 * len(order)))


def draw_subgroups(analysis: Analysis) -> Markup | None:
    """Draw share of leavers and mean probability of each subgroup; None if all groups are small."""
    groups = [group for group in analysis.subgroups if not group.is_small]
    if not groups:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        positions = np.arange(len(groups))
        observed = np.array([group.observed.value for group in groups])
        low = observed - [group.observed.low for group in groups]
        high = [group.observed.high for group in groups] - observed
        axes.errorbar(
            observed, positions, xerr=(low, high), fmt="o", color=BLUE, elinewidth=1.4, label="left, 95% interval"
        )
        axes.plot(
            [group.predicted for group in groups],
            positions,
            "D",
            color=ORANGE,
            markersize=5,
            markeredgecolor=PAPER,
            label="mean prediction",
            zorder=5,
        )
        axes.set_yticks(positions, [f"{shorten(group.feature)}: {shorten(group.level)}" for group in groups])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        for position in range(1, len(groups)):
            if groups[position].feature != groups[position - 1].feature:
                axes.axhline(position - 0.5, color=GREY, linewidth=0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("share of the group")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)

    text = ", ".join(
        f"{group.feature} {group.level} {group.predicted:.0%} predicted, {group.observed.value:.0%} left"
        for group in groups
    )
    return render(
        "subgroups", "Predicted and observed share of leavers by subgroup", text, draw, (5.4, 1.3 + 0.26 * len(groups))
    )
