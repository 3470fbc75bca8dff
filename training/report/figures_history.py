"""Figures of the training history."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from training.report.curves import thin
from training.report.svg import BEHIND, BLUE, ORANGE, PAPER, render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


PANELS = 4
"""Maximum number of panels."""

_MEMBER = re.compile(r"(?:^|(?<=[/_.\- ]))(?:(?:member|fold|seed|model|network|net|m)[_\-]?)?\d+(?:[/_.\- ]|$)")
_NAMES = {"loss": "loss", "auc": "AUC", "lr": "learning rate"}


def draw_history(history: Mapping[str, Sequence[float]]) -> list[Markup]:
    """Draw the training curves: one figure per metric, with training and validation."""
    return [
        _draw_panel(f"history-{number}", name, curves)
        for number, (name, curves) in enumerate(group_history(history).items())
    ]


def group_history(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, list[Sequence[float]]]]:
    """Group the series of a history by metric, and by ``training`` and ``validation``.

    Numbers of ensemble members in a key, such as the 2 in ``loss_2`` and ``member_2/val_loss``, are ignored, so that
    all members share a panel. At most `PANELS` metrics are kept, the loss first.
    """
    panels: dict[str, dict[str, list[Sequence[float]]]] = {}
    for key, series in history.items():
        values = [float(value) for value in series]
        if not values or not np.isfinite(values).any():
            continue
        name = _MEMBER.sub("", key).strip("/_.- ") or key
        kind = "validation" if name.startswith("val_") else "training"
        name = name.removeprefix("val_")
        panels.setdefault(name, {}).setdefault(kind, []).append(values)
    names = sorted(panels, key=lambda name: (name != "loss", "validation" not in panels[name]))
    return {name: panels[name] for name in names[:PANELS]}


def _draw_panel(key: str, name: str, curves: Mapping[str, Sequence[Sequence[float]]]) -> Markup:
    title = _NAMES.get(name, name.replace("_", " "))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for kind, colour in (("training", BLUE), ("validation", ORANGE)):
            _draw_series(axes, kind, colour, curves.get(kind, ()))
        losses = [np.array(one) for one in curves.get("validation", ()) if np.isfinite(one).any()] * (name == "loss")
        for one in losses:
            _mark_best(axes, one, is_alone=len(losses) == 1)
        axes.set_title(title, fontweight="bold")
        if name == "loss":
            axes.set_ylabel("log loss (nats per customer)")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if len(curves) > 1:
            axes.legend()

    text = ", ".join(f"{kind} ends at {series[0][-1]:.4g}" for kind, series in curves.items())
    return render(key, f"Training curves: {title}", text, draw, (5.2, 3.2))


def _draw_series(axes: Axes, kind: str, colour: str, series: Sequence[Sequence[float]]) -> None:
    for number, values in enumerate(series):
        epochs, shown = thin(np.arange(1.0, len(values) + 1), np.array(values))
        axes.plot(
            epochs,
            shown,
            marker="o" if len(values) == 1 else "none",
            color=colour,
            alpha=1.0 if len(series) == 1 else 0.55,
            label=kind if number == 0 else None,
        )


def _mark_best(axes: Axes, losses: NDArray[np.float64], *, is_alone: bool) -> None:
    best = int(np.nanargmin(losses))
    late = best > 0.6 * len(losses)
    axes.plot(best + 1, losses[best], "o", color=ORANGE, markeredgecolor=PAPER, markersize=8, zorder=5)
    if not is_alone:
        return
    axes.annotate(
        f"best: epoch {best + 1}",
        (best + 1, losses[best]),
        (4 if late else 0, 13),
        textcoords="offset points",
        ha="right" if late else "center",
        bbox=BEHIND,
    )
