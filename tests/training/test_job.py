"""The training job as a whole. What runs a second process is marked slow."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import quick
from bank import draw_customers, write_csv
from forked import run_forked, start_forked, start_server
from quick import make_options
from tampering import contents
from waiting import DEADLINE

from churn.bundle import read_bundle
from churn.errors import BundleError, RegistryError
from churn.registry import Registry
from churn.scorer import load_scorer
from training import job, reference
from training.dataset import Dataset, load_dataset

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from numpy.typing import NDArray

    from training.job import Outcome

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "EPOCHS", quick.EPOCHS)


def test_a_trained_version_is_published_and_scores_as_it_was_trained(outcome: Outcome, dataset: Dataset) -> None:
    assert (outcome.version, outcome.folder.name) == (1, "1")
    assert Registry(outcome.folder.parent).current() == 1
    for engine in ("onnx", "tensorflow"):
        found = load_scorer(outcome.folder, engine).score_raw(dataset.raw)
        assert np.abs(found - outcome.trained.fitted.predict(dataset.raw)).max() <= 2e-6
    assert outcome.engine_difference <= 1e-6


def test_a_bundle_has_the_files_of_the_design_and_no_others(outcome: Outcome) -> None:
    assert sorted(path.name for path in outcome.folder.iterdir()) == [
        "background.npy",
        "manifest.json",
        "members.onnx",
        "model.keras",
        "model.onnx",
        "model_card.md",
        "neighbours.npy",
        "preprocessor.joblib",
        "report.html",
    ]


def test_the_scores_of_every_part_are_stored(outcome: Outcome) -> None:
    metrics = read_bundle(outcome.folder).manifest.content["metrics"]
    assert {name: part["customers"] for name, part in metrics.items()} == {"train": 800, "validation": 800, "test": 200}
    for name, part in metrics.items():
        assert part["log_loss"] == outcome.scores[name].log_loss
        assert set(part) >= {"roc_auc", "average_precision", "accuracy", "brier_score", "confusion_matrix"}


def test_the_parts_do_not_overlap(outcome: Outcome) -> None:
    rows = np.concatenate([outcome.trained.rows[name] for name in ("train", "test")])
    assert sorted(rows) == list(range(1000))


@pytest.mark.slow
def test_nothing_of_the_test_part_is_fitted_on(outcome: Outcome, dataset: Dataset) -> None:
    rows = outcome.trained.rows
    raw = dataset.raw.copy()
    raw[rows["test"], dataset.schema.names.index("Balance")] = 9e9
    fitted = job.fit(replace(dataset, raw=raw), rows, make_options())
    assert fitted.preprocessor.to_dict() == outcome.trained.fitted.preprocessor.to_dict()
    for found, expected in zip(
        fitted.result.model.get_weights(), outcome.trained.fitted.result.model.get_weights(), strict=True
    ):
        assert np.array_equal(found, expected)


@pytest.mark.slow
def test_another_seed_gives_another_model(outcome: Outcome, dataset: Dataset) -> None:
    fitted = job.fit(dataset, outcome.trained.rows, make_options(seed=1))
    assert not np.array_equal(
        fitted.result.model.get_weights()[0], outcome.trained.fitted.result.model.get_weights()[0]
    )


@pytest.mark.slow
def test_with_nothing_held_out_there_is_one_part(dataset: Dataset, tmp_path: Path) -> None:
    outcome = job.train(dataset, tmp_path / "models", make_options(test_size=0))
    assert outcome.scores["train"].customers == 1000
    assert set(read_bundle(outcome.folder).manifest.content["metrics"]) == {"train", "validation"}


@pytest.mark.slow
def test_the_reference_network_is_the_tutorials(dataset: Dataset, tmp_path: Path) -> None:
    outcome = job.train(dataset, tmp_path / "models", make_options(network="reference"))
    assert {name: scores.customers for name, scores in outcome.scores.items()} == {"train": 800, "test": 200}
    layers = [layer for layer in outcome.trained.fitted.result.model.layers if layer.get_weights()]
    assert [(layer.units, layer.activation.__name__) for layer in layers] == [(6, "relu"), (6, "relu"), (1, "sigmoid")]
    assert {type(layer.kernel_initializer).__name__ for layer in layers} == {"RandomUniform"}
    names = outcome.trained.fitted.preprocessor.names
    assert [name for name in names if " is " in name and "missing" not in name] == [
        "Geography is Germany",
        "Geography is Spain",
        "Gender is Male",
    ]
    assert np.abs(load_scorer(outcome.folder).score_raw(dataset.raw)).max() <= 1


@pytest.mark.slow
def test_a_new_version_may_start_from_an_earlier_one(own_models: Path, dataset: Dataset) -> None:
    outcome = job.train(dataset, own_models, make_options(warm_start=1, promote=False))
    assert outcome.version == 2
    assert Registry(own_models).current() == 1
    manifest, earlier = (read_bundle(own_models / name).manifest for name in ("2", "1"))
    assert manifest.content["settings"]["warm_start"] == 1
    choices = [found.content["network"]["choice"] for found in (manifest, earlier)]
    assert choices[0]["depth"] == choices[1]["depth"]
    assert choices[0]["features_left_out"] == choices[1]["features_left_out"]


@pytest.mark.slow
def test_a_warm_start_keeps_the_depth_and_the_features_of_the_earlier_version(dataset: Dataset, tmp_path: Path) -> None:
    base = make_options()
    narrow = replace(base, config=replace(base.config, importance_steps=(1e9,), doubt=-1e9))
    earlier = job.train(dataset, tmp_path / "models", narrow)
    left_out = earlier.trained.fitted.result.details["choice"]["features_left_out"]
    assert len(left_out) == len(dataset.schema.features) - 2
    other = replace(base, config=replace(base.config, tree_depths=(1, 3)), seed=9)
    warm = job.fit(dataset, earlier.trained.rows, other, earlier.folder).result.details["choice"]
    assert (warm["depth"], warm["features_left_out"]) == (2, left_out)


@pytest.mark.slow
def test_a_warm_start_of_the_reference_begins_with_the_weights_of_the_earlier_version(
    dataset: Dataset, tmp_path: Path
) -> None:
    earlier = job.train(dataset, tmp_path / "models", make_options(network="reference")).folder
    rows = {"train": np.arange(100)}
    options = make_options(network="reference", seed=9)
    before = load_scorer(earlier).score_raw(dataset.raw)
    warm, cold = (job.fit(dataset, rows, options, start).predict(dataset.raw) for start in (earlier, None))
    assert np.abs(warm - before).mean() < 0.5 * np.abs(cold - before).mean()


def test_a_start_from_another_schema_or_no_version_is_refused(own_models: Path, tmp_path: Path) -> None:
    before = contents(own_models)
    other = load_dataset(write_csv(tmp_path / "bank.csv", draw_customers(300)))
    with pytest.raises(BundleError, match="no warm start: its columns"):
        job.train(other, own_models, make_options(warm_start=1))
    with pytest.raises(RegistryError, match="version 7 does not exist"):
        job.train(other, own_models, make_options(warm_start=7))
    assert contents(own_models) == before


def test_a_network_whose_forms_differ_is_not_published(
    outcome: Outcome, own_models: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import export

    before = contents(own_models)
    monkeypatch.setattr(job, "fit", lambda *_: outcome.trained.fitted)
    monkeypatch.setattr(export, "EQUAL_TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="not published"):
        job.train(dataset, own_models, make_options())
    assert contents(own_models) == before


# --- In processes of their own ---------------------------------------------------------------------------------------

MOMENTS = {
    "fitted": ("training.job", "fit"),
    "exported": ("training.publication", "export.export_network"),
    "written": ("training.publication", "write_manifest"),
}
"""Function after which a training halts."""


def train_and_halt(halted: Any, errors: Path, moment: str, *arguments: str) -> None:
    """Run ``churn train``, halt after a function of it, and say so."""
    from cli.main import main

    patch = pytest.MonkeyPatch()
    quick.make_quick(patch)
    patch.setattr("training.publication.write_report", lambda path, _: path.write_text("without pictures"))
    name = ".".join(MOMENTS[moment])
    function = resolve_name(name)

    def halt(*given: Any, **named: Any) -> Any:
        answer = function(*given, **named)
        halted.send(True)
        time.sleep(600)
        return answer

    patch.setattr(name, halt)
    patch.setattr(sys, "argv", ["churn", *arguments])
    with errors.open("w") as file:
        patch.setattr(sys, "stderr", file)
        main()


def start_and_wait_until(moment: str, data: Path, models: Path, errors: Path) -> ForkServerProcess:
    """Start a training that stands still at a moment; return when it stands."""
    arguments = ("train", str(data), "--models", str(models), "--network", "reference")
    receiver, sender = start_server().Pipe(duplex=False)
    process = start_forked(train_and_halt, sender, errors, moment, *arguments)
    sender.close()
    assert receiver.recv()
    return process


def seen(models: Path) -> dict[str, bytes]:
    """Return what anyone sees of the models: all but the hidden leavings of a killed process."""
    return {name: data for name, data in contents(models).items() if not name.startswith(".")}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_training_that_is_killed_leaves_the_models_as_before(
    own_models: Path, bank_csv: Path, tmp_path: Path, moment: str
) -> None:
    before = seen(own_models)
    process = start_and_wait_until(moment, bank_csv, own_models, tmp_path / "errors")
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert seen(own_models) == before
    staged = own_models / ".staging-2"
    assert staged.is_dir() == (moment != "fitted")
    registry = Registry(own_models)
    assert registry.versions() == [1]
    load_scorer(registry.current_folder())
    registry.promote(1)
    assert not staged.exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["fitted", "written"])
def test_a_training_that_is_interrupted_leaves_the_models_as_before(
    own_models: Path, bank_csv: Path, tmp_path: Path, moment: str
) -> None:
    before = contents(own_models)
    errors = tmp_path / "errors"
    process = start_and_wait_until(moment, bank_csv, own_models, errors)
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    process.join(DEADLINE)
    assert process.exitcode == 130
    assert errors.read_text().strip() == "interrupted: nothing was published"
    assert contents(own_models) == before


def fit_again(data: Path) -> list[NDArray[np.float32]]:
    """Train as the fixture `outcome` did and return the weights."""
    dataset, options = load_dataset(data), make_options()
    weights: list[NDArray[np.float32]]
    weights = job.fit(dataset, job.choose_rows(dataset.labels, options), options).result.model.get_weights()
    return weights


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_in_another_process(outcome: Outcome, bank_csv: Path) -> None:
    here = outcome.trained.fitted.result.model.get_weights()
    for weights, expected in zip(run_forked(fit_again, bank_csv), here, strict=True):
        assert np.array_equal(weights, expected)
