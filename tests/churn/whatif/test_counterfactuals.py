"""The smallest changes that bring a probability to a target."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import draw_table, find, make_network, run, search_at_random, search_everywhere

from churn.feature import Feature
from churn.schema import Schema
from churn.whatif.axes import make_axes
from churn.whatif.counterfactuals import GRID_EVALUATIONS, MAX_CHANGES, MAX_FOUND, propose
from churn.whatif.steps import CALL_COST, SLICE, Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.whatif.counterfactuals import Proposals
    from churn.whatif.steps import Steps

LEVELS = ("a", "b", "c", "d")
MIXED = Schema(
    (
        Feature("money", "number", actionable="any"),
        Feature("income", "number", actionable="increase"),
        Feature("items", "integer", actionable="decrease"),
        Feature("card", "flag", actionable="any"),
        Feature("plan", "category", categories=LEVELS, actionable="any"),
        Feature("since", "date", actionable="any"),
        Feature("age", "number"),
        Feature("country", "category", categories=LEVELS),
    ),
    "left",
)

ONE = Schema(
    (
        Feature("x", "number", trained_minimum=0, trained_maximum=100, actionable="any"),
        Feature("flag", "flag", actionable="any"),
        Feature("plan", "category", categories=("a", "b", "c"), actionable="any"),
    ),
    "left",
)
HISTOGRAMS: dict[str, Any] = {
    "x": {"edges": [10.0, 90.0], "counts": [10, 80, 10]},
    "flag": {"values": ["0", "1"], "counts": [50, 50]},
    "plan": {"values": ["a", "b", "c"], "counts": [60, 40, 0]},
}


def linear(*weights: float, bias: float = 0.0) -> Any:
    def score(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = np.clip(raw @ np.array(weights) + bias, 0, 1)
        return scores

    return score


def list_changes(proposals: Proposals) -> list[dict[int, float]]:
    return [{change.position: change.value for change in one.changes} for one in proposals.found]


def test_the_smallest_change_of_a_line_is_found_exactly() -> None:
    # 0.9 - 0.004 x reaches 0.5 at x = 100, 0.7 at x = 50; the spread is 80 and values are multiples of 0.01.
    row = np.array([20.0, 0.0, 0.0])
    score = linear(-0.004, 0.0, 0.0, bias=0.9)
    assert list_changes(find(ONE, HISTOGRAMS, row, score)) == [{0: 100.0}]
    found = find(ONE, HISTOGRAMS, row, score, target=0.7)
    assert list_changes(found) == [{0: 50.0}]
    assert found.found[0].distance == pytest.approx(30 / 80)
    assert found.found[0].probability == 0.7
    assert found.probability == 0.82


def test_the_goal_is_at_most_the_target_from_above_and_strictly_above_it_from_below() -> None:
    score = linear(0.01, 0.0, 0.0)
    down = find(ONE, HISTOGRAMS, np.array([60.0, 0.0, 0.0]), score)
    assert (down.goal.is_ceiling, list_changes(down)) == (True, [{0: 50.0}])
    for own in (40.0, 50.0):
        up = find(ONE, HISTOGRAMS, np.array([own, 0.0, 0.0]), score)
        assert (up.goal.is_ceiling, list_changes(up)) == (False, [{0: 50.01}])


def test_a_level_or_flag_value_that_training_never_saw_is_not_proposed() -> None:
    row = np.array([20.0, 0.0, 0.0])
    only_c = lambda raw: np.where(raw[:, 2] == 2, 0.1, 0.9)  # noqa: E731
    assert find(ONE, HISTOGRAMS, row, only_c).found == ()
    seen = HISTOGRAMS | {"plan": {"values": ["a", "b", "c"], "counts": [60, 39, 1]}}
    assert list_changes(find(ONE, seen, row, only_c)) == [{2: 2.0}]


def test_fewer_fields_come_first_and_no_answer_contains_another() -> None:
    # x alone needs a long way, flag and plan together two short ones.
    row = np.array([20.0, 0.0, 0.0])
    score = linear(-0.004, -0.2, -0.2, bias=0.9)
    found = find(ONE, HISTOGRAMS, row, score)
    assert list_changes(found) == [{0: 100.0}, {1: 1.0, 2: 1.0}]
    assert [one.distance for one in found.found] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("schema", "row", "says"),
    [
        (replace(ONE, features=tuple(replace(f, actionable="") for f in ONE.features)), [20, 0, 0], "marks no field"),
        (replace(ONE, features=(*(replace(f, actionable="") for f in ONE.features[:2]), ONE.features[2])), [20, 0, 0],
         "no change of plan brings the probability to 0.5 or below"),
        (replace(ONE, features=(replace(ONE.features[0], actionable="increase"),)), [100], "x can't be increased"),
        (replace(ONE, features=(replace(ONE.features[0], nullable=True),)), [math.nan], "x is missing"),
    ],
)  # fmt: skip
def test_none_exists_is_an_answer_with_a_reason(schema: Schema, row: list[float], says: str) -> None:
    found = find(schema, HISTOGRAMS, np.array(row, dtype=np.float64), lambda raw: np.full(len(raw), 0.9))
    assert found.found == ()
    assert says in found.reason


@pytest.mark.parametrize(
    ("mark", "own", "allowed"),
    [
        ({"actionable": "any"}, 20.0, (0, 100)),
        ({"actionable": "increase"}, 20.0, (20, 100)),
        ({"actionable": "decrease"}, 20.0, (0, 20)),
        ({"actionable": "any", "actionable_minimum": 10, "actionable_maximum": 30.005}, 20.0, (10, 30.005)),
        ({"actionable": "any", "actionable_maximum": 1e6, "maximum": 90}, 20.0, (0, 90)),
        ({"actionable": "increase", "actionable_minimum": 50}, 20.0, (50, 100)),
        ({"actionable": "decrease"}, 500.0, (0, 100)),
    ],
)
def test_values_stay_in_the_direction_the_bounds_and_what_training_saw(
    mark: dict[str, Any], own: float, allowed: tuple[float, float]
) -> None:
    schema = Schema((replace(ONE.features[0], **mark),), "left")
    ((axis,), _) = make_axes(schema, HISTOGRAMS, np.array([own]))
    low, high = axis.values.min(), axis.values.max()
    assert allowed[0] <= low <= allowed[0] + 0.02
    assert allowed[1] - 0.02 <= high <= allowed[1]
    assert own not in axis.values
    assert (np.diff(axis.values) > 0).all()
    assert axis.below == np.count_nonzero(axis.values < own)


@pytest.mark.parametrize(
    ("kind", "low", "high", "step"),
    [
        ("number", 0, 250_898.09, 100), ("number", 11.58, 199_992.48, 100), ("number", -1, 1, 0.001),
        ("integer", 1, 4, 1), ("integer", 0, 10_000_000, 1_000), ("date", 18_000, 19_000, 1),
    ],
)  # fmt: skip
def test_numbers_are_round(kind: Any, low: float, high: float, step: float) -> None:
    schema = Schema((Feature("x", kind, trained_minimum=low, trained_maximum=high, actionable="any"),), "left")
    edges = np.linspace(low, high, 11)[1:-1].tolist()
    ((axis,), _) = make_axes(schema, {"x": {"edges": edges, "counts": [7] * 10}}, np.array([low]))
    assert np.diff(axis.values).max() == pytest.approx(step)
    written = [str(value) for value in axis.values.tolist()]
    assert max(map(len, written)) <= 12
    assert all(value == int(value) for value in axis.values) or kind == "number"
    assert low <= axis.values.min() <= axis.values.max() <= high


@pytest.mark.parametrize("ends", [(1e15 - 1, 1e15), (1.0, 1.0 + 1e-15), (0.0, 5e-324), (-1e-300, 1e-300), (3.0, 3.0)])
def test_ranges_at_the_limits_of_numbers_have_few_different_values(ends: tuple[float, float]) -> None:
    schema = Schema((Feature("x", "number", trained_minimum=ends[0], trained_maximum=ends[1], actionable="any"),), "y")
    axes, fixed = make_axes(schema, {"x": {"edges": [], "counts": [1]}}, np.array([ends[0]]))
    assert len(axes) + len(fixed) == 1
    for axis in axes:
        assert len(axis.values) <= 20_001
        assert len(np.unique(axis.values)) == len(axis.values)
        assert np.isfinite(axis.distances).all()


@pytest.mark.parametrize("seed", range(8))
def test_it_is_as_good_as_a_search_of_everything(seed: int) -> None:
    small = Schema(
        (
            Feature("n", "integer", actionable="any"),
            Feature("m", "integer", actionable="decrease"),
            Feature("plan", "category", categories=LEVELS, actionable="any"),
            Feature("card", "flag", actionable="increase"),
            Feature("age", "number"),
        ),
        "left",
    )
    schema, raw, histograms = draw_table(small, 300, seed)
    score = make_network(raw, seed)
    for row in raw[:4]:
        found = find(schema, histograms, row, score)
        best = search_everywhere(schema, histograms, row, score, found.goal)
        if best is None:
            assert all(len(one.changes) > 3 for one in found.found)
        else:
            mine = found.found[0]
            assert len(mine.changes) == best[0]
            assert found.is_complete or len(mine.changes) > 1
            assert mine.distance == pytest.approx(best[1])


@pytest.mark.parametrize("seed", range(6))
def test_it_is_no_worse_than_a_random_search(seed: int) -> None:
    schema, raw, histograms = draw_table(MIXED, 500, seed)
    score = make_network(raw, seed)
    for row in raw[:3]:
        probability = float(score(row[None])[0])
        target = max(probability - 0.4, 0.02) if seed % 2 else min(probability + 0.4, 0.98)
        found = find(schema, histograms, row, score, target)
        best = search_at_random(schema, histograms, row, score, found.goal, 20_000, seed)
        if best is not None:
            mine = found.found[0]
            assert (len(mine.changes), mine.distance) <= (best[0], best[1] * 1.1)


kinds = st.sampled_from(["number", "integer", "flag", "category", "date"])
directions = st.sampled_from(["", "increase", "decrease", "any", "any"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[Schema, NDArray[np.float64], dict[str, Any], Any]:
    features = []
    for i, (kind, mark) in enumerate(draw(st.lists(st.tuples(kinds, directions), min_size=1, max_size=7))):
        levels = LEVELS[: draw(st.integers(1, 4))] if kind == "category" else ()
        direction: Any = "any" if mark and kind == "category" else mark
        features.append(Feature(f"f{i}", kind, categories=levels, actionable=direction))  # type: ignore[arg-type]
    seed = draw(st.integers(0, 10_000))
    schema, raw, histograms = draw_table(Schema(tuple(features), "left"), 60, seed)
    if schema.features[0].is_quantity and schema.features[0].actionable and draw(st.booleans()):
        bounded = replace(schema.features[0], actionable_maximum=float(raw[:, 0].mean()))
        schema = replace(schema, features=(bounded, *schema.features[1:]))
    return schema, raw, histograms, make_network(raw, seed)


@settings(max_examples=60)
@given(tables(), st.integers(0, 59), st.floats(0, 0.999))
def test_whatever_is_proposed_is_allowed_reaches_the_goal_and_repeats(
    table: tuple[Schema, NDArray[np.float64], dict[str, Any], Any], row: int, target: float
) -> None:
    schema, raw, histograms, score = table
    own = raw[row]
    found, work = run(propose(schema, histograms, own, target), score)
    again, repeated = run(propose(schema, histograms, own, target), score)
    assert (found, work.evaluations) == (again, repeated.evaluations)
    assert found.probability == score(own[None]).round(6)[0]
    assert found.goal.is_ceiling == (found.probability > target)
    assert bool(found.found) != bool(found.reason)
    assert len(found.found) <= MAX_FOUND
    sets = [{change.position for change in one.changes} for one in found.found]
    assert not any(one <= other for i, one in enumerate(sets) for j, other in enumerate(sets) if i != j)
    keys = [(len(one.changes), one.distance) for one in found.found]
    assert keys == sorted(keys)
    for one in found.found:
        changed = own.copy()
        assert 1 <= len(one.changes) <= MAX_CHANGES
        for change in one.changes:
            feature = schema.features[change.position]
            changed[change.position] = change.value
            assert change.value != own[change.position]
            if feature.actionable != "any":
                assert (change.value > own[change.position]) == (feature.actionable == "increase")
            assert raw[:, change.position].min() <= change.value <= raw[:, change.position].max()
            if feature.actionable_maximum is not None:
                assert change.value <= feature.actionable_maximum
            assert feature.actionable
            assert feature.kind == "number" or change.value == int(change.value)
        assert one.distance == pytest.approx(sum(change.distance for change in one.changes))
        assert one.probability == score(changed[None]).round(6)[0]
        assert one.probability <= target if found.goal.is_ceiling else one.probability > target


def test_a_search_that_leaves_nothing_out_says_so() -> None:
    few = Schema(tuple(Feature(f"f{i}", "flag", actionable="any") for i in range(5)), "left")
    schema, raw, histograms = draw_table(few, 50, 0)
    found = find(schema, histograms, raw[0], lambda rows: np.full(len(rows), 0.9))
    assert found.is_complete
    assert found.reason == (
        "no change of f0, f1, f2, f3, f4, alone or up to 4 together, brings the probability to 0.5 or below"
    )
    many = Schema((Feature("money", "number", actionable="any"), *schema.features), "left")
    schema, raw, histograms = draw_table(many, 50, 0)
    found = find(schema, histograms, raw[0], lambda rows: np.full(len(rows), 0.9))
    assert not found.is_complete
    assert "no change of money, f0, f1, f2, f3, f4, alone or up to 4 together, was found that brings" in found.reason


def test_a_point_that_misses_the_goal_alone_is_moved_on() -> None:
    """A batch may round the last digit otherwise than a single customer does."""
    plain = linear(0.01, 0.0, 0.0)

    def score(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        alone: NDArray[np.float64] = plain(raw) + 1e-6 * (len(raw) == 1)
        return alone

    found = find(ONE, HISTOGRAMS, np.array([60.0, 0.0, 0.0]), score)
    assert list_changes(found) == [{0: 49.99}]
    assert found.found[0].probability == 0.499901


def test_the_work_is_bounded_and_done_in_small_parts() -> None:
    wide = Schema(tuple(Feature(f"f{i}", "number", actionable="any") for i in range(40)), "left")
    schema, raw, histograms = draw_table(wide, 200, 0)
    sizes = []
    stuck = lambda rows: np.full(len(rows), 0.9)  # noqa: E731
    _, work = run(propose(schema, histograms, raw[0], 0.5), lambda rows: sizes.append(len(rows)) or stuck(rows))
    assert max(sizes) <= SLICE
    # The fields are also tried alone a second time, to choose those that are combined.
    assert work.evaluations <= sum(GRID_EVALUATIONS.values()) + 40 * 33 + 1
    assert work.evaluations > 50_000


def test_a_run_pauses_after_each_slice() -> None:
    schema, raw, histograms = draw_table(MIXED, 200, 0)
    work: Run[Any] = Run(_Stuck(), propose(schema, histograms, raw[0], 0.5))  # type: ignore[arg-type]
    pauses = 0
    before = 0
    while not work.advance():
        pauses += 1
        assert SLICE // 2 <= work.evaluations - before < 2 * SLICE
        before = work.evaluations
    assert pauses > 3
    assert work.result.found == ()


def test_small_parts_count_for_more_than_their_customers() -> None:
    def ask() -> Steps[int]:
        for _ in range(50):
            yield np.zeros((2, 1))
        return 7

    work: Run[Any] = Run(_Stuck(), ask())  # type: ignore[arg-type]
    assert not work.advance()
    assert work.evaluations == 2 * math.ceil(SLICE / (CALL_COST + 2))
    assert work.finish() == 7


class _Stuck:
    def score_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(len(raw), 0.9)

    def score_row(self, row: Any) -> float:
        return 0.9 + 0 * len(row)
