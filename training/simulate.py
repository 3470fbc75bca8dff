"""Draw made-up bank customers with the columns of Churn_Modelling.csv and known churn probabilities.

The distributions and the churn probability were fitted to the public table and rounded; the probability was then
adjusted until the churn rates matched the table. docs/simulator.md documents both with a comparison.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.logistic import expit
from churn.runtime.files import write_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

COLUMNS = (
    "RowNumber",
    "CustomerId",
    "Surname",
    "CreditScore",
    "Geography",
    "Gender",
    "Age",
    "Tenure",
    "Balance",
    "NumOfProducts",
    "HasCrCard",
    "IsActiveMember",
    "EstimatedSalary",
    "Exited",
)
"""Columns of the table, in order."""

TRUTH = "TrueProbability"
"""Name of the column with the true churn probability."""

BLOCK_ROWS = 65_536
"""Rows drawn from one random stream. Not a parameter, because the rows of a seed depend on it."""

COUNTRIES = ("France", "Germany", "Spain")
AGE_RANGE = (18, 92)
CREDIT_RANGE = (350, 850)
LONGEST_TENURE = 10
LEAST_SALARY = 10.0

AGE_GROUPS = ((0.82, -3.5, 7.0), (0.09, 10.6, 7.1), (0.09, 20.5, 9.9))
"""Mixture of ages: share, difference from the mean age in years, standard deviation in years."""

GERMAN_YEARS, OTHER_YEARS = 0.85, -0.28
"""Difference from the mean age in years, in Germany and elsewhere."""

ACTIVE_FROM_AGE, ACTIVE_PER_YEAR, ACTIVE_DIP = 50, 0.08, (-0.22, 45.0, 8.0)
"""Log odds of being active: rise per year from this age on, and a dip in the forties (as in `IDLE_HUMP`)."""

PRODUCT_SHARES = ((0.7385, 0.2535, 0.0063, 0.0017), (0.1685, 0.816, 0.0142, 0.0013), (0.455, 0.5235, 0.018, 0.0035))
"""Shares of 1 to 4 products: with a balance outside Germany, without a balance outside Germany, in Germany."""

PRODUCTS_BY_RISK = ((0.09, 0.0, 0.65, 0.64), (0.48, 0.0, 0.54, 0.82), (0.29, 0.0, 0.58, 0.69))
PRODUCTS_OF_WOMEN = (0.0, 0.0, 0.37, 0.50)
"""Increase of the logarithms of these shares per unit of the age term and for women, before normalisation: customers
at ages with a high risk have one product, or too many."""

# The churn probability, in log odds.
BASE = ((-2.86, -3.10, 4.45, 3.60), (-1.82, -4.58, -0.42, 3.30), (-1.37, -3.20, 1.10, 3.70))
"""By the same three groups of customers and 1 to 4 products; the risk is lowest with two, and highest with three or
four."""

IDLE_HUMP, ACTIVE_HUMP = (4.9, 60.0, 15.8), (2.8, 52.5, 12.8)
"""Age term of inactive and active customers: height, age at the maximum, width in years."""

ACTIVE, FEMALE = -0.80, 0.62
BALANCE_PER_100K, BALANCE_DIP = 0.16, (-0.91, 0.0, 1.0)
"""For balances above zero, relative to 120,000 in units of 100,000: a slope, and a dip around the middle."""

CREDIT_PER_100 = -0.06
CARD, TENURE_PER_YEAR, SALARY_PER_100K = -0.05, -0.02, 0.03
"""Weak effects, as in the public table."""

_ID_STEP = 4  # ids of a block fill a quarter of a separate range: spread like the real ones, and unique
_FIRST_ID = 15_565_701
_NAME_ENDS = ("berg", "dale", "etti", "ford", "man", "mont", "ova", "son", "ton")
_SURNAMES = np.array([a + b + c for a in "BDFHKLMNRSTW" for b in "aeio" for c in _NAME_ENDS], dtype=object)


@dataclass(frozen=True, slots=True)
class Population:
    """Distribution of the customers; the defaults are those of the public table. Does not affect the churn formula.

    Attributes
    ----------
    country_shares : tuple of float, length 3
        France, Germany, Spain; they sum to one.
    female_share, card_share : float
    mean_age : float
        In years, before restriction to `AGE_RANGE`.
    active_share : float
        For young customers; it rises from `ACTIVE_FROM_AGE` on. Neither 0 nor 1.
    zero_balance_share : float
        For customers outside Germany; in Germany all balances are above zero.
    mean_balance, balance_spread : float
        Mean and standard deviation of the balances above zero.
    mean_credit_score, credit_score_spread : float
        Before clipping to `CREDIT_RANGE`.
    highest_salary : float
        Salaries are uniformly distributed below it.

    Raises
    ------
    ValueError
        If a share or the mean age is out of range; the message says what is allowed.
    """

    country_shares: tuple[float, float, float] = (0.501, 0.251, 0.248)
    female_share: float = 0.454
    mean_age: float = 39.4
    active_share: float = 0.515
    zero_balance_share: float = 0.483
    mean_balance: float = 119_800.0
    balance_spread: float = 30_100.0
    card_share: float = 0.7055
    mean_credit_score: float = 651.2
    credit_score_spread: float = 98.5
    highest_salary: float = 200_000.0

    def __post_init__(self) -> None:
        shares = (*self.country_shares, self.female_share, self.zero_balance_share, self.card_share)
        if not all(0 <= share <= 1 for share in shares) or not np.isclose(sum(self.country_shares), 1):
            raise ValueError("shares must be between 0 and 1, and country_shares must sum to 1")
        if not 0 < self.active_share < 1:
            raise ValueError(f"active_share is {self.active_share}; allowed: above 0 and below 1")
        if not AGE_RANGE[0] <= self.mean_age <= AGE_RANGE[1]:
            raise ValueError(f"mean_age is {self.mean_age}; allowed: {AGE_RANGE[0]} to {AGE_RANGE[1]}")

    @classmethod
    def older_richer(cls) -> Population:
        """Return a population that is about eight years older, with balances a third higher, for tests of drift."""
        return cls(
            mean_age=47.5,
            zero_balance_share=0.30,
            mean_balance=160_000.0,
            balance_spread=40_000.0,
            highest_salary=260e3,
        )


PUBLIC = Population()
"""The population of the public table."""


def churn_probability(columns: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Return the true churn probability of each customer.

    Parameters
    ----------
    columns : mapping of str to array-like, each of shape (n,)
        At least ``CreditScore``, ``Geography``, ``Gender``, ``Age`` (years), ``Tenure`` (years), ``Balance``,
        ``NumOfProducts``, ``HasCrCard``, ``IsActiveMember`` and ``EstimatedSalary``, with no value missing.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If a number of products is not 1, 2, 3 or 4.
    """
    names = set(COLUMNS) - {"RowNumber", "CustomerId", "Surname", "Geography", "Gender", "Exited"}
    number = {name: np.asarray(columns[name], dtype=np.float64) for name in names}
    if not np.isin(number["NumOfProducts"], (1, 2, 3, 4)).all():
        raise ValueError("NumOfProducts has an unknown value; allowed: 1, 2, 3 and 4")
    age, balance = number["Age"], number["Balance"]
    active, excess = number["IsActiveMember"] == 1, (balance - 120e3) / 100e3
    kind = _kind(np.asarray(columns["Geography"]) == "Germany", balance)
    log_odds: NDArray[np.float64] = (
        np.array(BASE)[kind, number["NumOfProducts"].astype(np.intp) - 1]
        + ACTIVE * active
        + _age_risk(age, active)
        + np.where(balance > 0, BALANCE_PER_100K * excess + _hump(excess, *BALANCE_DIP) - BALANCE_DIP[0], 0.0)
        + FEMALE * (np.asarray(columns["Gender"]) == "Female")
        + CREDIT_PER_100 * (number["CreditScore"] - 650) / 100
        + CARD * (number["HasCrCard"] - 0.7)
        + TENURE_PER_YEAR * (number["Tenure"] - 5)
        + SALARY_PER_100K * (number["EstimatedSalary"] - 100e3) / 100e3
    )
    return expit(log_odds)


def simulate(
    rows: int, seed: int, *, truth: bool = False, population: Population = PUBLIC, start: int = 0
) -> dict[str, NDArray[Any]]:
    """Draw customers into memory. A row depends only on the seed, the population and its position.

    Parameters
    ----------
    rows : int
        At least 1.
    seed : int
        Not negative.
    truth : bool
        Add the true probability as last column, `TRUTH`. Does not affect the other columns.
    population : Population
    start : int
        Number of rows of the seed's sequence to skip.

    Returns
    -------
    dict of str to ndarray, each of shape (rows,)
        The columns in the order of `COLUMNS`: strings as object arrays, ``Balance``, ``EstimatedSalary`` and the true
        probability as float64, the others as int64.

    Raises
    ------
    ValueError
        If ``rows``, ``seed`` or ``start`` is too small.
    """
    _check(rows, seed, start)
    first, last = start // BLOCK_ROWS, (start + rows - 1) // BLOCK_ROWS
    blocks = [_draw_block(block, seed, population) for block in range(first, last + 1)]
    if not truth:
        for columns in blocks:
            del columns[TRUTH]
    cut = slice(start % BLOCK_ROWS, start % BLOCK_ROWS + rows)
    return {name: np.concatenate([columns[name] for columns in blocks])[cut] for name in blocks[0]}


def simulate_chunks(
    rows: int, seed: int, *, truth: bool = False, population: Population = PUBLIC, chunk_rows: int = BLOCK_ROWS
) -> Iterator[dict[str, NDArray[Any]]]:
    """Draw the same customers as `simulate` in chunks of ``chunk_rows`` with constant memory.

    ``chunk_rows`` does not affect the rows; a multiple of `BLOCK_ROWS` avoids drawing rows twice. Raises the errors of
    `simulate` when the first chunk is requested.

    Yields
    ------
    dict of str to ndarray, shape (rows of the chunk,)
        The columns.
    """
    _check(rows, seed, 0)
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}; allowed: 1 or more")
    for start in range(0, rows, chunk_rows):
        yield simulate(min(chunk_rows, rows - start), seed, truth=truth, population=population, start=start)


def write_simulated(
    path: Path,
    rows: int,
    seed: int,
    *,
    truth: bool = False,
    population: Population = PUBLIC,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write customers to a file, which appears when it is complete and replaces an existing one.

    Parameters
    ----------
    path : Path
        ``.csv`` or ``.parquet``.
    rows, seed, truth, population
        See `simulate`.
    progress : callable, optional
        Called after each chunk with the number of rows written.

    Raises
    ------
    ValueError
        If the suffix is unknown, or ``rows`` or ``seed`` is too small.
    OSError
        If the folder does not exist or the file can't be written.
    """
    import pyarrow as pa

    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"{path}: unknown file format {path.suffix!r}; allowed: .csv, .parquet")
    _check(rows, seed, 0)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    text, real = ("Surname", "Geography", "Gender"), ("Balance", "EstimatedSalary", TRUTH)
    names = (*COLUMNS, TRUTH) if truth else COLUMNS
    types = [pa.string() if name in text else pa.float64() if name in real else pa.int64() for name in names]
    schema = pa.schema(list(zip(names, types, strict=True)))
    with write_aside(path) as aside, _open_writer(aside, path.suffix.lower(), schema) as writer:
        for columns in simulate_chunks(rows, seed, truth=truth, population=population):
            writer.write_table(pa.table(columns, schema=schema))
            if progress is not None:
                progress(len(columns[COLUMNS[0]]))


@contextmanager
def _open_writer(path: Path, suffix: str, schema: Any) -> Iterator[Any]:  # noqa: ANN401  Arrow has no types for mypy
    from pyarrow import csv, parquet

    if suffix == ".parquet":
        with parquet.ParquetWriter(path, schema) as writer:
            yield writer
        return
    with path.open("wb") as file:
        # pyarrow would quote the header and strings; the public table has no quotes, and no value needs them.
        file.write((",".join(schema.names) + "\n").encode())
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        with csv.CSVWriter(file, schema, write_options=options) as writer:
            yield writer


def _check(rows: int, seed: int, start: int) -> None:
    for name, value, least in (("rows", rows, 1), ("seed", seed, 0), ("start", start, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}; allowed: {least} or more")


def _draw_block(block: int, seed: int, population: Population) -> dict[str, NDArray[Any]]:
    """Draw the `BLOCK_ROWS` customers of one block with their true probabilities, by the seed of a spawned child."""
    draw = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(block,)))
    country = _choose(draw, np.array(population.country_shares))
    german, female = country == COUNTRIES.index("Germany"), _flip(draw, population.female_share)
    age = _draw_ages(draw, population.mean_age + np.where(german, GERMAN_YEARS, OTHER_YEARS))
    active = _flip(draw, _active_share(age, population.active_share))
    balance = _draw_balances(draw, german, population)
    products = _choose(draw, _product_shares(_kind(german, balance), _age_risk(age, active == 1), female))
    credit = np.rint(draw.normal(population.mean_credit_score, population.credit_score_spread, BLOCK_ROWS))
    ids = block * BLOCK_ROWS + draw.permutation(BLOCK_ROWS)
    columns: dict[str, NDArray[Any]] = {
        "RowNumber": block * BLOCK_ROWS + np.arange(1, BLOCK_ROWS + 1),
        "CustomerId": _FIRST_ID + _ID_STEP * ids + draw.integers(0, _ID_STEP, BLOCK_ROWS),
        "Surname": _SURNAMES[draw.integers(0, len(_SURNAMES), BLOCK_ROWS)],
        "CreditScore": credit.clip(*CREDIT_RANGE).astype(np.int64),
        "Geography": np.array(COUNTRIES, dtype=object)[country],
        "Gender": np.array(("Male", "Female"), dtype=object)[female],
        "Age": np.floor(age).astype(np.int64),
        # With rounding, the first and the last year have half the share of the others, as in the public table.
        "Tenure": np.rint(draw.uniform(0, LONGEST_TENURE, BLOCK_ROWS)).astype(np.int64),
        "Balance": balance,
        "NumOfProducts": products + 1,
        "HasCrCard": _flip(draw, population.card_share),
        "IsActiveMember": active,
        "EstimatedSalary": draw.uniform(LEAST_SALARY, population.highest_salary, BLOCK_ROWS).round(2),
    }
    probability = churn_probability(columns)
    return columns | {"Exited": _flip(draw, probability), TRUTH: probability}


def _draw_ages(draw: np.random.Generator, mean_age: NDArray[np.float64]) -> NDArray[np.float64]:
    shares, distances, spreads = np.array(AGE_GROUPS).T
    group = _choose(draw, shares)
    centre, spread = mean_age + distances[group], spreads[group]
    age: NDArray[np.float64] = draw.normal(centre, spread)
    # Drawn again instead of clipped, to avoid a peak at 18.
    while (outside := (age < AGE_RANGE[0]) | (age >= AGE_RANGE[1] + 1)).any():
        age[outside] = draw.normal(centre[outside], spread[outside])
    return age


def _active_share(age: NDArray[np.float64], of_the_young: float) -> NDArray[np.float64]:
    log_odds = ACTIVE_PER_YEAR * np.maximum(age - ACTIVE_FROM_AGE, 0) + _hump(age, *ACTIVE_DIP)
    share: NDArray[np.float64] = 1 / (1 + (1 / of_the_young - 1) * np.exp(-log_odds))
    return share


def _draw_balances(draw: np.random.Generator, german: NDArray[np.bool_], population: Population) -> NDArray[np.float64]:
    held = draw.normal(population.mean_balance, population.balance_spread, BLOCK_ROWS)
    empty = (draw.random(BLOCK_ROWS) < population.zero_balance_share) & ~german
    # The few negative values are mirrored, since a balance is positive or 0.
    return np.where(empty, 0.0, np.abs(held).round(2).clip(0.01))


def _kind(german: NDArray[np.bool_], balance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return 0 with a balance outside Germany, 1 without a balance outside Germany, 2 in Germany."""
    return np.where(german, 2, balance == 0).astype(np.intp)


def _product_shares(
    kind: NDArray[np.intp], risk: NDArray[np.float64], female: NDArray[np.int64]
) -> NDArray[np.float64]:
    tilt = np.array(PRODUCTS_BY_RISK)[kind] * risk[:, np.newaxis] + np.outer(female, PRODUCTS_OF_WOMEN)
    weights = np.array(PRODUCT_SHARES)[kind] * np.exp(tilt)
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _age_risk(age: NDArray[np.float64], active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the age term of the churn formula, in log odds."""
    return np.where(active, _hump(age, *ACTIVE_HUMP), _hump(age, *IDLE_HUMP))


def _hump(values: NDArray[np.float64], height: float, centre: float, width: float) -> NDArray[np.float64]:
    hump: NDArray[np.float64] = height * np.exp(-(((values - centre) / width) ** 2))
    return hump


def _flip(draw: np.random.Generator, probability: float | NDArray[np.float64]) -> NDArray[np.int64]:
    return (draw.random(BLOCK_ROWS) < probability).astype(np.int64)


def _choose(draw: np.random.Generator, shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """Draw an index for each row with probabilities of shape (k,) or (`BLOCK_ROWS`, k)."""
    # The last share absorbs rounding errors, so that no index is k.
    passed = draw.random((BLOCK_ROWS, 1)) >= shares.cumsum(axis=-1)[..., :-1]
    position: NDArray[np.intp] = np.count_nonzero(passed, axis=1)
    return position
