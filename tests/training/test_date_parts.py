"""Month and day of the week as inputs: read right, chosen where they tell something, equal in every form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from churn.dates import count_days, read_month, read_weekday
from churn.errors import BundleError
from churn.feature import Feature
from churn.preprocessing import Preprocessor
from churn.schema import Schema
from training.date_parts import choose_parts
from training.default.folds import split_folds
from training.level_statistics import FoldedLabels
from training.networks import NETWORKS
from training.preprocess import as_objects, fit_with_statistics

SCHEMA = Schema((Feature("age", "number"), Feature("since", "date", nullable=True)), "left")


def draw(rows: int = 2000) -> np.ndarray:
    generator = np.random.default_rng(0)
    since = generator.integers(12_000, 16_000, rows).astype(float)
    since[::10] = np.nan
    return np.column_stack([generator.normal(40, 10, rows), since])


def tell(chance: np.ndarray) -> FoldedLabels:
    labels = (np.random.default_rng(1).random(len(chance)) < chance).astype(np.float32)
    return FoldedLabels(labels, split_folds(labels, 5, 0), 0)


def leave_in(raw: np.ndarray, part: str) -> FoldedLabels:
    days = np.where(np.isnan(raw[:, 1]), 0, raw[:, 1]).astype(np.int64)
    hit = read_month(days) == 12 if part == "month" else read_weekday(days) >= 6
    return tell(np.where(hit & ~np.isnan(raw[:, 1]), 0.6, 0.1))


def test_days_of_eight_centuries_have_the_calendars_month_and_weekday() -> None:
    days = [date(1600, 1, 1) + timedelta(days=one) for one in range(0, 300_000, 11)]
    days += [date(year, 2, 28) + timedelta(days=1) for year in range(1600, 2400)]
    numbers = np.array([count_days(day) for day in days], dtype=np.int64)
    assert read_month(numbers).tolist() == [day.month for day in days]
    assert read_weekday(numbers).tolist() == [day.isoweekday() for day in days]
    assert [read_month(int(number)) for number in numbers[-800:]] == [day.month for day in days[-800:]]


@pytest.mark.parametrize("part", ["month", "weekday"])
def test_a_part_is_chosen_if_it_tells_who_leaves(part: str) -> None:
    raw = draw()
    assert choose_parts(raw[:, 1], leave_in(raw, part)) == (part,)


def test_no_part_is_chosen_without_a_reason() -> None:
    raw = draw()
    assert choose_parts(raw[:, 1], tell(np.full(len(raw), 0.2))) == ()
    year = 12_418 + raw[:, 1] % 360  # of 2004: the days themselves tell the month
    assert choose_parts(year, leave_in(np.column_stack([raw[:, 0], year]), "month")) == ()
    assert choose_parts(raw[:, 1], tell(np.where(np.isnan(raw[:, 1]), 0.8, 0.1))) == ()  # it has an indicator
    assert choose_parts(np.full(len(raw), np.nan), leave_in(raw, "month")) == ()


@pytest.fixture(scope="module")
def fitted() -> tuple[np.ndarray, np.ndarray, Preprocessor]:
    raw = draw()
    transformer, preprocessor, _ = fit_with_statistics(
        SCHEMA, raw, NETWORKS["default"].encoding, leave_in(raw, "month")
    )
    return raw, transformer.transform(as_objects(SCHEMA, raw)), preprocessor


def test_the_month_is_an_input_in_scikit_learn_and_here(
    fitted: tuple[np.ndarray, np.ndarray, Preprocessor],
) -> None:
    raw, expected, preprocessor = fitted
    assert preprocessor.names == ("age", "since", "since is missing", "since: month")
    matrix = preprocessor.transform(raw)
    assert np.allclose(matrix, expected, atol=1e-5)
    assert matrix[1, 3] == (date(1970, 1, 1) + timedelta(days=raw[1, 1])).month
    assert matrix[0, 3] == preprocessor.part_fill[0]
    assert preprocessor.sources.tolist() == [0, 1, 1, 1]
    assert preprocessor.numeric_columns.tolist() == [0, 1, 3]
    assert preprocessor.owners.tolist() == [-1] * 4


def test_a_row_alone_gets_the_same_month(fitted: tuple[np.ndarray, np.ndarray, Preprocessor]) -> None:
    raw, _, preprocessor = fitted
    preprocessor = replace(preprocessor, center=preprocessor.center + 0.1, scale=preprocessor.scale * 1.7)
    row = preprocessor.make_row_transform()
    assert np.concatenate([row(one) for one in raw.tolist()]).tobytes() == preprocessor.transform(raw).tobytes()


def test_the_month_survives_json(fitted: tuple[np.ndarray, np.ndarray, Preprocessor]) -> None:
    raw, _, preprocessor = fitted
    data = json.loads(json.dumps(preprocessor.to_dict()))
    assert data["parts"] == [{"source": 1, "part": "month", "fill": preprocessor.part_fill[0]}]
    assert Preprocessor.from_dict(data).transform(raw).tobytes() == preprocessor.transform(raw).tobytes()
    with pytest.raises(BundleError, match="unknown parts of dates: decade"):
        Preprocessor.from_dict(data | {"parts": [data["parts"][0] | {"part": "decade"}]})
    with pytest.raises(BundleError, match="differ in length"):
        Preprocessor.from_dict(data | {"parts": []})
