"""Made schemas, customers and networks for searches, without a model version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.schema import Schema
from churn.whatif.axes import make_axes
from churn.whatif.counterfactuals import Proposals, propose
from churn.whatif.steps import Run
from training.histograms import count_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.whatif.steps import Steps


@dataclass
class MadeScorer:
    """A function of raw customers that scores like a `Scorer`, and remembers what it was asked."""

    function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    asked: list[NDArray[np.float64]]

    def score_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        self.asked.append(raw)
        return self.function(raw).round(6)

    def score_row(self, row: Any) -> float:
        return float(self.score_raw(np.array([row]))[0])


def run(steps: Steps[Any], function: Any) -> tuple[Any, Run[Any]]:
    work: Run[Any] = Run(MadeScorer(function, []), steps)  # type: ignore[arg-type]
    return work.finish(), work


def find(
    schema: Schema, histograms: dict[str, Any], row: NDArray[np.float64], function: Any, target: float = 0.5
) -> Proposals:
    found, _ = run(propose(schema, histograms, row, target), function)
    assert isinstance(found, Proposals)
    return found


def draw_table(schema: Schema, rows: int, seed: int) -> tuple[Schema, NDArray[np.float64], dict[str, Any]]:
    """Draw a training table; return the schema with its ranges, the raw matrix and the histograms."""
    draw = np.random.default_rng(seed)
    columns, features = [], []
    for feature in schema.features:
        column = _draw_column(feature, rows, draw)
        if feature.is_quantity:
            ends = {"trained_minimum": column.min(), "trained_maximum": column.max()}
            feature = replace(feature, **ends)
        columns.append(column)
        features.append(feature)
    raw = np.column_stack(columns)
    trained = Schema(tuple(features), schema.label)
    return trained, raw, count_features(trained, raw)


def _draw_column(feature: Feature, rows: int, draw: np.random.Generator) -> NDArray[np.float64]:
    if feature.kind == "number":
        return draw.lognormal(3, 1, rows).round(2)
    if feature.kind == "date":
        return draw.integers(18_000, 20_000, rows).astype(np.float64)
    if feature.kind == "integer":
        return draw.poisson(6, rows).astype(np.float64)
    return draw.integers(0, len(feature.categories) or 2, rows).astype(np.float64)


def make_network(raw: NDArray[np.float64], seed: int, hidden: int = 8) -> Any:
    """Return a random network of a hidden layer over the columns of a table, scaled by it."""
    draw = np.random.default_rng(seed)
    mean, scale = raw.mean(axis=0), raw.std(axis=0) + 1e-9
    first, second = draw.normal(0, 1.2, (raw.shape[1], hidden)), draw.normal(0, 1.5, hidden)
    bias = draw.normal(0, 1, hidden)

    def score(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = np.tanh((rows - mean) / scale @ first + bias) @ second
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        return scores

    return score


def search_at_random(
    schema: Schema,
    histograms: dict[str, Any],
    row: NDArray[np.float64],
    function: Any,
    goal: Any,
    tries: int,
    seed: int,
) -> tuple[int, float] | None:
    """Return fields and distance of the best of random changes of up to four fields; None if none reaches the goal."""
    axes, _ = make_axes(schema, histograms, row)
    draw = np.random.default_rng(seed)
    sets = [chosen for size in range(1, 5) for chosen in combinations(range(len(axes)), size)]
    best: tuple[int, float] | None = None
    for chosen in sets:
        count = tries // len(sets)
        raw, distances = np.repeat(row[None], count, axis=0), np.zeros(count)
        for i in chosen:
            places = draw.integers(0, len(axes[i].values), count)
            raw[:, axes[i].position] = axes[i].values[places]
            distances += axes[i].distances[places]
        reached = goal.is_reached(function(raw).round(6))
        if reached.any():
            mine = (len(chosen), float(distances[reached].min()))
            best = mine if best is None else min(best, mine)
    return best


def search_everywhere(
    schema: Schema, histograms: dict[str, Any], row: NDArray[np.float64], function: Any, goal: Any
) -> tuple[int, float] | None:
    """Return fields and distance of the best of all changes of up to three fields; None if there is none."""
    axes, _ = make_axes(schema, histograms, row)
    for size in range(1, 4):
        distances = []
        for chosen in combinations(axes, size):
            for places in product(*(range(len(axis.values)) for axis in chosen)):
                changed = row.copy()
                for axis, place in zip(chosen, places, strict=True):
                    changed[axis.position] = axis.values[place]
                if goal.is_reached(function(changed[None]).round(6)).all():
                    distances.append(sum(axis.distances[p] for axis, p in zip(chosen, places, strict=True)))
        if distances:
            return size, min(distances)
    return None
