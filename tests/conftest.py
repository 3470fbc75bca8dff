"""What many tests share: one table, and one model trained on it, so that TensorFlow is loaded once."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Any

import hypothesis
import postgresql
import pytest
from bank import REAL_TABLE, draw_customers, with_gaps, write_csv
from quick import make_options, make_quick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from churn.scorer import Scorer
    from training.dataset import Dataset
    from training.job import Outcome


# A busy machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave property tests out of coverage: they run lines that other tests run, hundreds of times and half as fast."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside() -> None:
    """Remove the settings of the shell that started the tests."""
    for name in [name for name in os.environ if name.startswith("CHURN_") and not name.startswith("CHURN_TEST_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def bank_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of customers with gaps in a number, a flag and a category."""
    return write_csv(tmp_path_factory.mktemp("bank") / "bank.csv", with_gaps(draw_customers(1000)))


@pytest.fixture(scope="session")
def public_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public bank table of 10,000 customers where it is, else as many simulated ones with the same columns."""
    if REAL_TABLE.is_file():
        return REAL_TABLE
    from training.simulate import write_simulated

    path = tmp_path_factory.mktemp("public") / REAL_TABLE.name
    write_simulated(path, 10_000, 0)
    return path


@pytest.fixture(scope="session")
def dataset(bank_csv: Path) -> Dataset:
    from training.dataset import load_dataset

    return load_dataset(bank_csv)


@pytest.fixture(scope="session")
def outcome(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The default network, trained and published as version 1."""
    from training import job

    return job.train(dataset, tmp_path_factory.mktemp("trained") / "models", make_options())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server of the module's own."""
    why_not = postgresql.why_not()
    if why_not:
        pytest.skip(why_not)
    with postgresql.run_postgresql() as url:
        yield url


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every network be trained quickly, whatever the command was told."""
    make_quick(monkeypatch)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no report but a word, which saves most of the time of a publication."""
    from training import publication

    monkeypatch.setattr(publication, "write_report", lambda path, _: path.write_text("without pictures"))


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry's folder with one trained version, for all processes that run tests; look, don't touch."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return trained_models(request)
    shared = tmp_path_factory.getbasetemp().parent / "models"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            shutil.copytree(trained_models(request), shared)
    return shared


def trained_models(request: pytest.FixtureRequest) -> Path:
    """Return the folder that the fixture `outcome` trains into."""
    outcome: Outcome = request.getfixturevalue("outcome")
    return outcome.folder.parent


@pytest.fixture
def own_models(models: Path, tmp_path: Path) -> Path:
    """A copy of `models` to spoil."""
    return shutil.copytree(models, tmp_path / "models")


@pytest.fixture(scope="session")
def scorers(models: Path) -> dict[str, Scorer]:
    """The trained version with each engine."""
    from churn.scorer import load_scorer

    return {"onnx": load_scorer(models / "1", "onnx"), "tensorflow": load_scorer(models / "1", "tensorflow")}


@pytest.fixture(scope="session")
def columns(dataset: Dataset) -> dict[str, list[Any]]:
    """The table's customers as columns of plain values."""
    from churn.columns import as_customers

    customers = as_customers(dataset.schema, dataset.raw)
    return {name: [customer[name] for customer in customers] for name in dataset.schema.names}
