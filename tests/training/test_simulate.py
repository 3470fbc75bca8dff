from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.simulate import (
    CHUNK_ROWS,
    TRUTH,
    Population,
    churn_probability,
    simulate,
    simulate_chunks,
    write_simulated,
)

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "Churn_Modelling.csv"
HEADER = (
    "RowNumber,CustomerId,Surname,CreditScore,Geography,Gender,Age,Tenure,Balance,"
    "NumOfProducts,HasCrCard,IsActiveMember,EstimatedSalary,Exited"
)


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    return pd.DataFrame(simulate(60_000, seed=1, truth=True))


def test_a_fifth_leaves(customers: pd.DataFrame) -> None:
    assert customers["Exited"].mean() == pytest.approx(0.2, abs=0.01)


def test_churn_is_not_monotone_in_products(customers: pd.DataFrame) -> None:
    share = customers.groupby("NumOfProducts")["Exited"].mean()
    assert share[2] < 0.12 < share[1] < 0.35 < 0.7 < share[3] < share[4]


def test_churn_has_a_hump_over_age(customers: pd.DataFrame) -> None:
    share = customers.groupby(pd.cut(customers["Age"], [17, 35, 50, 60, 92]), observed=True)["Exited"].mean()
    assert share.iloc[2] == share.max()
    assert share.iloc[2] > 2 * share.iloc[3]


def test_no_account_is_empty_in_germany_and_half_are_elsewhere(customers: pd.DataFrame) -> None:
    empty = (customers["Balance"] == 0).groupby(customers["Geography"]).mean()
    assert empty["Germany"] == 0
    assert empty["France"] == pytest.approx(0.483, abs=0.02)


def test_the_truth_is_what_the_labels_are_drawn_from(customers: pd.DataFrame) -> None:
    truth, left = customers[TRUTH].to_numpy(), customers["Exited"].to_numpy()
    for tenth in np.array_split(np.argsort(truth), 10):
        error = np.sqrt((truth[tenth] * (1 - truth[tenth])).sum()) / len(tenth)
        assert abs(left[tenth].mean() - truth[tenth].mean()) < 4 * error


def test_the_truth_is_the_law_of_the_columns(customers: pd.DataFrame) -> None:
    columns = {name: customers[name].to_numpy() for name in customers.columns}
    np.testing.assert_allclose(churn_probability(columns), customers[TRUTH], atol=1e-12)


def test_faint_columns_are_not_irrelevant() -> None:
    columns = {name: column[:1].repeat(2) for name, column in simulate(1, seed=0).items()}
    for name, values in {"Tenure": [0, 10], "HasCrCard": [0, 1], "EstimatedSalary": [0.0, 2e5]}.items():
        low, high = churn_probability({**columns, name: np.array(values)})
        assert 0 < abs(high - low) < 0.05


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    short, long = simulate(10, seed=3), simulate(CHUNK_ROWS + 10, seed=3)
    for name, column in short.items():
        np.testing.assert_array_equal(long[name][:10], column)
    assert len(set(long["CustomerId"])) == CHUNK_ROWS + 10


def test_chunks_differ_from_each_other() -> None:
    first, second = simulate_chunks(2 * CHUNK_ROWS, seed=3)
    assert not np.array_equal(first["Balance"], second["Balance"])


def test_another_seed_draws_others() -> None:
    assert not np.array_equal(simulate(100, seed=1)["Balance"], simulate(100, seed=2)["Balance"])


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_simulated(tmp_path / name, 500, seed=7)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_csv_has_the_public_tables_header(tmp_path: Path) -> None:
    write_simulated(tmp_path / "customers.csv", 5, seed=0)
    header = (tmp_path / "customers.csv").read_text().splitlines()[0]
    assert header.replace('"', "") == HEADER
    if REAL.exists():
        assert REAL.read_text().splitlines()[0] == HEADER


def test_parquet_and_csv_hold_the_same(tmp_path: Path) -> None:
    for name in ("customers.csv", "customers.parquet"):
        write_simulated(tmp_path / name, 300, seed=5, truth=True)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "customers.csv"), pd.read_parquet(tmp_path / "customers.parquet"), check_exact=False
    )


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.csv, \.parquet"):
        write_simulated(tmp_path / "customers.xlsx", 5, seed=0)


@pytest.mark.parametrize(("rows", "seed"), [(0, 0), (5, -1)])
def test_impossible_numbers_are_refused(tmp_path: Path, rows: int, seed: int) -> None:
    with pytest.raises(ValueError, match="allowed"):
        write_simulated(tmp_path / "customers.csv", rows, seed)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulated(tmp_path / "customers.csv", 10, seed=0, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_row(tmp_path: Path) -> None:
    steps: list[int] = []
    write_simulated(tmp_path / "customers.parquet", CHUNK_ROWS + 1, seed=0, progress=steps.append)
    assert steps == [CHUNK_ROWS, 1]


def test_another_population_is_older_and_richer() -> None:
    usual, later = simulate(5_000, seed=0), simulate(5_000, seed=0, population=Population.older_richer())
    assert later["Age"].mean() > usual["Age"].mean() + 5
    assert later["Balance"].mean() > usual["Balance"].mean() + 30_000


@pytest.mark.skipif(not REAL.exists(), reason="the public table is not beside the checkout (../shared)")
def test_marginals_are_near_the_public_tables(customers: pd.DataFrame) -> None:
    real = pd.read_csv(REAL)
    for name, slack in {
        "CreditScore": 3,
        "Age": 1.5,
        "Tenure": 0.2,
        "Balance": 3_000,
        "EstimatedSalary": 2_000,
    }.items():
        assert abs(customers[name].mean() - real[name].mean()) < slack, name
    for name in ("Geography", "Gender", "NumOfProducts", "HasCrCard", "IsActiveMember"):
        difference = customers[name].value_counts(normalize=True) - real[name].value_counts(normalize=True)
        assert difference.abs().max() < 0.03, name
