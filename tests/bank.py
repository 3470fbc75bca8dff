"""Tables of bank customers for the tests, small and quick to draw; and the real one, where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.simulate import COLUMNS

REPOSITORY = Path(__file__).parents[1]
REAL_TABLE = REPOSITORY.parent / "shared" / "data" / "Churn_Modelling.csv"
LABEL = "Exited"
FEATURES = tuple(name for name in COLUMNS if name not in {"RowNumber", "CustomerId", "Surname", LABEL})


def draw_customers(rows: int, seed: int = 0) -> pd.DataFrame:
    """Draw customers with the columns of Churn_Modelling.csv; the old, the idle and the Germans leave more often."""
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 80, rows)
    country = draw.choice(["France", "Germany", "Spain"], rows, p=[0.5, 0.25, 0.25])
    active = draw.integers(0, 2, rows)
    odds = -3.5 + 0.06 * (age - 30) + 1.2 * (country == "Germany") - 1.0 * active
    return pd.DataFrame(
        {
            "RowNumber": np.arange(1, rows + 1),
            "CustomerId": 15_000_000 + draw.permutation(10 * rows)[:rows],
            "Surname": [f"Name{number}" for number in draw.integers(0, rows, rows)],
            "CreditScore": draw.integers(350, 851, rows),
            "Geography": country,
            "Gender": draw.choice(["Female", "Male"], rows),
            "Age": age,
            "Tenure": draw.integers(0, 11, rows),
            "Balance": np.where(draw.random(rows) < 0.36, 0, draw.normal(120_000, 30_000, rows).clip(1)).round(2),
            "NumOfProducts": draw.choice([1, 2, 3, 4], rows, p=[0.5, 0.45, 0.04, 0.01]),
            "HasCrCard": draw.integers(0, 2, rows),
            "IsActiveMember": active,
            "EstimatedSalary": draw.uniform(11, 200_000, rows).round(2),
            "Exited": (draw.random(rows) < 1 / (1 + np.exp(-odds))).astype(int),
        }
    )


def with_gaps(customers: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Blank some cells of a number, a flag and a category."""
    draw = np.random.default_rng(seed)
    table = customers.copy()
    for name in ("Balance", "HasCrCard", "Geography"):
        table[name] = table[name].astype(object).mask(draw.random(len(table)) < 0.1)
    return table


def write_csv(path: Path, table: pd.DataFrame, **form: Any) -> Path:
    """Write a table as CSV and return its path."""
    table.to_csv(path, index=False, **form)
    return path
