from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from churn.dates import count_days
from churn.feature import Feature
from churn.reasons.sentences import write_sentence

BALANCE = Feature("Balance", "number", description="Balance", unit="euros", nullable=True)
TIME = Feature("Tenure", "integer", description="Time the customer has been with the bank", unit="years")
CARD = Feature("HasCrCard", "flag", description="Holds a credit card", nullable=True)
CITY = Feature("City", "category", categories=("Bonn", "Köln"), open=True)
SINCE = Feature("since", "date", description="start of the contract.\n Taken from the archive.")


@pytest.mark.parametrize(
    ("feature", "value", "subject"),
    [
        (BALANCE, 125510.82, "Balance of 125,510.82 euros"),
        (BALANCE, 1.0, "Balance of 1 euro"),
        (BALANCE, 0.0, "Balance of 0 euros"),
        (BALANCE, -10_000.0, "Balance of -10,000 euros"),
        (BALANCE, 0.1 + 0.2, "Balance of 0.3 euros"),
        (BALANCE, 1.25e-7, "Balance of 1.25e-07 euros"),
        (BALANCE, np.nan, "Balance (unknown)"),
        (TIME, 1.0, "Time the customer has been with the bank (1 year)"),
        (Feature("year", "integer"), 1987.0, "year of 1987"),
        (Feature("fee", "number", description="Sum of all fees", unit="euros"), 3.5, "Sum of all fees (3.5 euros)"),
        (Feature("n", "integer", unit="boxes"), 1.0, "n of 1 boxes"),
        (Feature("long", "integer", description="word " * 20), 2.0, "long of 2"),
        (CARD, 1.0, "Holds a credit card (yes)"),
        (CARD, 0.0, "Holds a credit card (no)"),
        (CARD, np.nan, "Holds a credit card (unknown)"),
        (CITY, 1.0, "City (Köln)"),
        (CITY, 2.0, "City (other than the listed values)"),
        (SINCE, count_days(date(2024, 3, 1)), "Start of the contract (1 March 2024)"),
    ],
)
def test_a_field_is_named_as_its_description_says_with_its_value_and_unit(
    feature: Feature, value: float, subject: str
) -> None:
    assert write_sentence(feature, value, 0.5) == f"{subject}: raises the probability by 50.0 points"


@pytest.mark.parametrize(
    ("points", "effect"),
    [
        (0.083012, "raises the probability by 8.3 points"),
        (-0.083012, "lowers the probability by 8.3 points"),
        (0.0005, "raises the probability by 0.1 points"),
        (-0.000499, "lowers the probability by less than 0.1 points"),
        (0.0, "does not change the probability"),
    ],
)
def test_the_effect_is_in_percentage_points(points: float, effect: str) -> None:
    assert write_sentence(CARD, 1.0, points) == f"Holds a credit card (yes): {effect}"


def test_an_estimate_is_said_to_be_one() -> None:
    assert write_sentence(CARD, 1.0, 0.25, is_exact=False).endswith("raises the probability by about 25.0 points")
