from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bank import REAL_TABLE
from processes import run_python
from sklearn.metrics import log_loss, roc_auc_score

from training.simulate import (
    BLOCK_ROWS,
    PUBLIC,
    TRUTH,
    Population,
    churn_probability,
    simulate,
    simulate_chunks,
    write_simulated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REAL_HEADER = (
    "RowNumber,CustomerId,Surname,CreditScore,Geography,Gender,Age,Tenure,Balance,NumOfProducts,HasCrCard,"
    "IsActiveMember,EstimatedSalary,Exited"
)
ROWS = 3 * BLOCK_ROWS
FRENCHMAN: dict[str, Any] = {
    "CreditScore": 650,
    "Geography": "France",
    "Gender": "Male",
    "Age": 40,
    "Tenure": 5,
    "Balance": 0.0,
    "NumOfProducts": 2,
    "HasCrCard": 1,
    "IsActiveMember": 1,
    "EstimatedSalary": 100_000.0,
}


@pytest.fixture(scope="module")
def bank() -> pd.DataFrame:
    return pd.DataFrame(simulate(ROWS, 7, truth=True))


def law(**changes: Any) -> float:
    return float(churn_probability({name: [value] for name, value in {**FRENCHMAN, **changes}.items()})[0])


def log_odds(**changes: Any) -> float:
    return math.log(law(**changes) / (1 - law(**changes)))


def equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return list(one) == list(other) and all((one[name] == other[name]).all() for name in one)


def columns_of(table: pd.DataFrame) -> dict[str, Any]:
    return {str(name): table[name].to_numpy() for name in table}


# The marginals


def test_columns_are_those_of_the_public_table_with_their_types(bank: pd.DataFrame) -> None:
    columns = simulate(10, 0)
    assert ",".join(columns) == REAL_HEADER
    assert {len(values) for values in columns.values()} == {10}
    kinds = {name: values.dtype.kind for name, values in columns.items()}
    assert {name for name, kind in kinds.items() if kind == "O"} == {"Surname", "Geography", "Gender"}
    assert {name for name, kind in kinds.items() if kind == "f"} == {"Balance", "EstimatedSalary"}
    assert list(bank) == [*columns, TRUTH]


def test_values_stay_in_the_ranges_of_the_public_table(bank: pd.DataFrame) -> None:
    ranges = {"CreditScore": (350, 850), "Age": (18, 92), "Tenure": (0, 10), "NumOfProducts": (1, 4)}
    for name, (least, most) in ranges.items():
        assert (bank[name].min(), bank[name].max()) == (least, most)
    assert bank.Balance.min() == 0
    assert 0 < bank.EstimatedSalary.min() < bank.EstimatedSalary.max() <= 200_000
    for name in ("Balance", "EstimatedSalary"):  # whole cents
        assert (bank[name] == bank[name].round(2)).all()


@pytest.mark.parametrize(
    ("name", "mean", "deviation", "margin"),
    [
        ("CreditScore", 650.5, 96.7, 1.5),
        ("Age", 38.9, 10.5, 0.15),
        ("Tenure", 5.0, 2.9, 0.05),
        ("Balance", 76_500, 62_400, 900),
        ("EstimatedSalary", 100_000, 57_500, 900),
        ("NumOfProducts", 1.53, 0.58, 0.015),
        ("HasCrCard", 0.7055, 0.456, 0.007),
        ("IsActiveMember", 0.515, 0.5, 0.008),
    ],
)
def test_means_and_deviations_are_the_documented_ones(
    bank: pd.DataFrame, name: str, mean: float, deviation: float, margin: float
) -> None:
    assert bank[name].mean() == pytest.approx(mean, abs=margin)
    assert bank[name].std() == pytest.approx(deviation, abs=margin)


def test_shares_are_the_documented_ones(bank: pd.DataFrame) -> None:
    shares = bank.Geography.value_counts(normalize=True)
    assert [shares[name] for name in ("France", "Germany", "Spain")] == pytest.approx([0.501, 0.251, 0.248], abs=0.006)
    assert (bank.Gender == "Female").mean() == pytest.approx(0.454, abs=0.006)
    assert set(bank.Gender) == {"Female", "Male"}
    products = bank.NumOfProducts.value_counts(normalize=True).sort_index()
    assert products.to_list() == pytest.approx([0.510, 0.459, 0.026, 0.0057], abs=0.006)


def test_a_third_holds_nothing_and_no_german_is_among_them(bank: pd.DataFrame) -> None:
    empty = bank.Balance == 0
    assert empty.mean() == pytest.approx(0.362, abs=0.006)
    assert not (empty & (bank.Geography == "Germany")).any()
    assert bank.Balance[~empty].min() > 0.01
    assert empty[bank.Geography == "France"].mean() == pytest.approx(empty[bank.Geography == "Spain"].mean(), abs=0.02)


def test_who_holds_nothing_holds_two_products(bank: pd.DataFrame) -> None:
    outside = bank[bank.Geography != "Germany"]
    two = (outside.NumOfProducts == 2).groupby(outside.Balance == 0).mean()
    assert two[True] == pytest.approx(0.72, abs=0.02)
    assert two[False] == pytest.approx(0.25, abs=0.02)


def test_the_old_are_active(bank: pd.DataFrame) -> None:
    active = bank.groupby(pd.cut(bank.Age, [17, 40, 50, 60, 70, 92])).IsActiveMember.mean().to_list()
    assert active[1] < active[0] < active[2] < active[3] < active[4]
    assert active[4] > 0.85


def test_row_numbers_count_and_ids_are_never_given_twice(bank: pd.DataFrame) -> None:
    assert bank.RowNumber.to_list() == list(range(1, ROWS + 1))
    assert bank.CustomerId.is_unique
    assert not bank.CustomerId.is_monotonic_increasing
    assert bank.CustomerId.min() >= 15_565_701


def test_surnames_repeat_as_names_do(bank: pd.DataFrame) -> None:
    assert 100 < bank.Surname.nunique() < 5000
    assert all(name.isalpha() and name.istitle() for name in bank.Surname.unique())


@pytest.mark.skipif(
    not REAL_TABLE.exists(),
    reason=f"not covered without the public table ({REAL_TABLE.name}): whether simulated customers are like it",
)
def test_marginals_and_churn_rates_are_near_the_public_tables(bank: pd.DataFrame) -> None:
    real = pd.read_csv(REAL_TABLE)

    def summarise(table: pd.DataFrame) -> tuple[Any, Any, Any]:
        empty = (table.Balance == 0).rename("Empty")
        ages = pd.cut(table.Age, [17, 30, 40, 50, 60, 92])
        keys = [table.Geography, table.Gender, table.NumOfProducts, table.IsActiveMember, table.HasCrCard, empty, ages]
        shares = [key.value_counts(normalize=True).sort_index() for key in keys]
        rates = [table.groupby(key, observed=True).Exited.mean() for key in keys]
        quantiles = [table[name].quantile([0.05, 0.25, 0.5, 0.75, 0.95]) for name in ("Age", "CreditScore")]
        return np.concatenate(shares), np.concatenate(rates), np.concatenate(quantiles)

    ours, theirs = summarise(bank), summarise(real)
    assert ours[0] == pytest.approx(theirs[0], abs=0.015)
    assert ours[1] == pytest.approx(theirs[1], abs=0.03)
    assert ours[2] == pytest.approx(theirs[2], rel=0.03)
    assert log_loss(real.Exited, churn_probability(columns_of(real))) < 0.335


# The law


def test_a_fifth_leaves(bank: pd.DataFrame) -> None:
    assert bank.Exited.mean() == pytest.approx(0.203, abs=0.006)
    assert set(bank.Exited) == {0, 1}


def test_churn_falls_and_rises_with_the_products(bank: pd.DataFrame) -> None:
    rates = bank.groupby("NumOfProducts").Exited.mean().to_list()
    assert rates == pytest.approx([0.277, 0.076, 0.83, 0.99], abs=0.03)


def test_churn_tops_in_the_fifties(bank: pd.DataFrame) -> None:
    rates = bank.groupby(pd.cut(bank.Age, [17, 29, 39, 49, 59, 69, 92])).Exited.mean().to_list()
    assert int(np.argmax(rates)) == 3
    assert all(left < right for left, right in pairwise(rates[:4]))
    assert all(left > right for left, right in pairwise(rates[3:]))


@pytest.mark.parametrize(
    ("customer", "expected"),
    [  # by hand, from the table and the formula of docs/simulator.md
        ({}, -4.58 - 0.80 + 2.8 * math.exp(-((12.5 / 12.8) ** 2)) - 0.05 * 0.3),
        (
            {"Geography": "Germany", "Gender": "Female", "Age": 60, "Balance": 220_000, "NumOfProducts": 1}
            | {"IsActiveMember": 0, "CreditScore": 750, "HasCrCard": 0, "Tenure": 9, "EstimatedSalary": 200_000},
            -1.37 + 0.62 + 4.9 + 0.16 + 0.91 * (1 - math.exp(-1)) - 0.06 + 0.05 * 0.7 - 0.02 * 4 + 0.03,
        ),
        (
            {"Geography": "Spain", "Age": 52.5, "Balance": 120_000, "NumOfProducts": 3},
            4.45 - 0.80 + 2.8 - 0.05 * 0.3,
        ),
    ],
)
def test_law_is_the_written_one(customer: dict[str, Any], expected: float) -> None:
    assert log_odds(**customer) == pytest.approx(expected, abs=1e-9)


def test_being_idle_matters_more_at_sixty_than_at_thirty() -> None:
    gaps = [log_odds(Age=age, IsActiveMember=0) - log_odds(Age=age) for age in (30, 60)]
    assert gaps[1] > gaps[0] + 1 > 1


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("Tenure", 10, 0), ("HasCrCard", 1, 0), ("EstimatedSalary", 0, 200_000), ("CreditScore", 700, 600)],
)
def test_near_noise_is_not_nothing(name: str, low: float, high: float) -> None:
    assert 0 < log_odds(**{name: high}) - log_odds(**{name: low}) < 0.25


def test_truth_is_the_law_and_calibrated_against_the_drawn_label(bank: pd.DataFrame) -> None:
    truth = bank[TRUTH]
    assert (truth == churn_probability(columns_of(bank))).all()
    groups = bank.groupby(pd.qcut(truth, 50))
    variance = (truth * (1 - truth)).groupby(pd.qcut(truth, 50)).sum()
    squares = (groups.Exited.sum() - groups[TRUTH].sum()) ** 2 / variance
    # Chi-squared with 50 degrees of freedom: five deviations either way.
    assert squares.sum() == pytest.approx(50, abs=50)
    assert squares.max() < 25


def test_the_laws_own_scores_are_like_those_the_public_table_allows(bank: pd.DataFrame) -> None:
    assert log_loss(bank.Exited, bank[TRUTH]) == pytest.approx(0.325, abs=0.006)
    assert roc_auc_score(bank.Exited, bank[TRUTH]) == pytest.approx(0.873, abs=0.006)


@pytest.mark.parametrize("products", [0, 1.5, 5, math.nan])
def test_law_refuses_a_number_of_products_it_does_not_know(products: float) -> None:
    with pytest.raises(ValueError, match="allowed: 1, 2, 3 and 4"):
        law(NumOfProducts=products)


# The stream


def test_first_rows_of_a_longer_run_are_the_same_rows() -> None:
    short, long = simulate(1000, 3), simulate(BLOCK_ROWS + 1000, 3)
    assert equal(short, {name: values[:1000] for name, values in long.items()})


@pytest.mark.parametrize("chunk_rows", [40_000, BLOCK_ROWS, 2 * BLOCK_ROWS])
def test_chunks_are_the_same_rows_however_they_are_cut(chunk_rows: int) -> None:
    rows = BLOCK_ROWS + 100
    chunks = list(simulate_chunks(rows, 3, chunk_rows=chunk_rows))
    assert {len(chunk["Age"]) for chunk in chunks[:-1]} <= {chunk_rows}
    whole = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    assert equal(whole, simulate(rows, 3))


def test_a_start_leaves_rows_out() -> None:
    later = simulate(10, 3, start=BLOCK_ROWS - 5)
    assert later["RowNumber"].tolist() == list(range(BLOCK_ROWS - 4, BLOCK_ROWS + 6))
    assert equal(later, {name: values[-10:] for name, values in simulate(BLOCK_ROWS + 5, 3).items()})


def test_blocks_differ() -> None:
    first, second = simulate(100, 3), simulate(100, 3, start=BLOCK_ROWS)
    assert (first["EstimatedSalary"] != second["EstimatedSalary"]).mean() > 0.99


def test_truth_changes_no_other_column() -> None:
    told = simulate(500, 3, truth=True)
    del told[TRUTH]
    assert equal(told, simulate(500, 3))


def test_another_seed_draws_others() -> None:
    assert (simulate(500, 3)["EstimatedSalary"] != simulate(500, 4)["EstimatedSalary"]).mean() > 0.99


@pytest.mark.parametrize(("name", "values"), [("rows", (0, 0, 0)), ("seed", (1, -1, 0)), ("start", (1, 0, -1))])
def test_too_small_a_number_is_refused_by_name(name: str, values: tuple[int, int, int]) -> None:
    rows, seed, start = values
    with pytest.raises(ValueError, match=rf"{name} is (0|-1); allowed: \d or more"):
        simulate(rows, seed, start=start)


def test_chunks_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk_rows is 0; allowed: 1 or more"):
        next(simulate_chunks(10, 0, chunk_rows=0))


# Other populations


def test_older_richer_shifts_ages_and_balances_and_keeps_the_law(bank: pd.DataFrame) -> None:
    other = pd.DataFrame(simulate(BLOCK_ROWS, 7, truth=True, population=Population.older_richer()))
    assert other.Age.mean() - bank.Age.mean() == pytest.approx(8, abs=0.5)
    assert other.Balance[other.Balance > 0].mean() / bank.Balance[bank.Balance > 0].mean() == pytest.approx(
        4 / 3, abs=0.02
    )
    assert (other.Balance == 0).mean() < (bank.Balance == 0).mean() - 0.1
    assert other.EstimatedSalary.mean() > bank.EstimatedSalary.mean() + 20_000
    assert other.Age.between(18, 92).all()
    assert (other[TRUTH] == churn_probability(columns_of(other))).all()
    assert other.Exited.mean() == pytest.approx(other[TRUTH].mean(), abs=0.01)


def test_a_population_can_be_changed_in_one_place() -> None:
    women = simulate(5000, 0, population=replace(PUBLIC, female_share=1.0, country_shares=(0.0, 1.0, 0.0)))
    assert set(women["Gender"]) == {"Female"}
    assert set(women["Geography"]) == {"Germany"}


def test_even_the_poorest_german_holds_something() -> None:
    poor = simulate(1000, 0, population=replace(PUBLIC, mean_balance=0.0, balance_spread=0.004))
    assert poor["Balance"][poor["Geography"] == "Germany"].min() == 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"country_shares": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"female_share": 1.1}, "between 0 and 1"),
        ({"active_share": 1.0}, "active_share is 1.0; allowed: above 0 and below 1"),
        ({"mean_age": 120.0}, "mean_age is 120.0; allowed: 18 to 92"),
    ],
)
def test_an_impossible_population_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PUBLIC, **change)


# The file


@pytest.mark.parametrize("truth", [False, True])
def test_csv_starts_with_the_public_header_and_holds_the_rows(tmp_path: Path, truth: bool) -> None:
    path = tmp_path / "bank.csv"
    write_simulated(path, 1000, 3, truth=truth)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines[0] == REAL_HEADER + f",{TRUTH}" * truth
    assert lines[1001:] == [""]
    assert '"' not in lines[1]
    assert equal(columns_of(pd.read_csv(path)), simulate(1000, 3, truth=truth))


def test_an_empty_account_is_written_as_in_the_public_table(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    write_simulated(path, 100, 3)
    assert "0" in {line.split(",")[8] for line in path.read_text(encoding="utf-8").splitlines()}


def test_parquet_equals_csv(tmp_path: Path) -> None:
    for name in ("bank.csv", "bank.PARQUET"):
        write_simulated(tmp_path / name, BLOCK_ROWS + 50, 3, truth=True)
    text, columns = pd.read_csv(tmp_path / "bank.csv"), pd.read_parquet(tmp_path / "bank.PARQUET")
    pd.testing.assert_frame_equal(text, columns, check_exact=True)


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        write_simulated(tmp_path / f"{name}.csv", 1000, seed)
    one, again, other = ((tmp_path / f"{name}.csv").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other


def test_another_population_reaches_the_file(tmp_path: Path) -> None:
    write_simulated(tmp_path / "old.csv", 1000, 3, population=Population.older_richer())
    assert pd.read_csv(tmp_path / "old.csv").Age.mean() > 45


def test_progress_is_told_every_row_once(tmp_path: Path) -> None:
    told: list[int] = []
    write_simulated(tmp_path / "bank.parquet", BLOCK_ROWS + 50, 3, progress=told.append)
    assert told == [BLOCK_ROWS, 50]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_failed_write_leaves_nothing_behind_and_the_old_file_alone(
    tmp_path: Path, suffix: str, error: type[BaseException]
) -> None:
    path, fresh = tmp_path / f"bank.{suffix}", tmp_path / f"fresh.{suffix}"
    path.write_text("the old one")

    def fail(_rows: int) -> None:
        raise error

    for target in (path, fresh):
        with pytest.raises(error):
            write_simulated(target, 1000, 3, progress=fail)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "the old one"


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("bank.xlsx", 10, r"unknown file format '\.xlsx'; allowed: \.csv, \.parquet"),
        ("bank", 10, r"unknown file format ''; allowed: \.csv, \.parquet"),
        ("bank.csv", 0, "rows is 0; allowed: 1 or more"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    tmp_path: Path, name: str, rows: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_simulated(tmp_path / name, rows, 3)
    assert not list(tmp_path.iterdir())


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder .*absent does not exist"):
        write_simulated(tmp_path / "absent" / "bank.csv", 10, 3)


def test_drawing_needs_neither_arrow_nor_pandas() -> None:
    code = (
        "import sys, training.simulate as s; s.simulate(5, 0);"
        "print({'pyarrow', 'pandas', 'sklearn', 'tensorflow', 'onnxruntime'} & set(sys.modules))"
    )
    assert run_python("-c", code).stdout == "set()\n"
