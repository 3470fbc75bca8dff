"""The ablation: that what it calls everything is what `churn train` trains, and that its intervals are right."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import REPOSITORY
from quick import CONFIG

from training import job
from training.default.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from training.dataset import Dataset


@pytest.fixture(scope="module")
def ablation() -> Iterator[ModuleType]:
    """The command's module."""
    sys.path.insert(0, str(REPOSITORY / "benchmarks"))
    import ablation

    yield ablation
    sys.path.remove(str(REPOSITORY / "benchmarks"))


def make_fit(losses: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    labels = np.arange(len(rows)) % 2
    return {"rows": rows, "losses": losses, "labels": labels, "probabilities": np.linspace(0.1, 0.9, len(rows))}


def test_every_variant_can_be_held_and_differs_from_everything(ablation: ModuleType) -> None:
    everything = ablation.VARIANTS[ablation.EVERYTHING]
    for name, variant in ablation.VARIANTS.items():
        config = replace(Config(), **variant.changes)
        assert Config.from_dict(config.to_dict()) == config
        assert name == ablation.EVERYTHING or replace(variant, title=everything.title) != everything


def test_a_customer_of_several_seeds_counts_once_in_the_interval(ablation: ModuleType) -> None:
    generator = np.random.default_rng(0)
    rows, losses = np.arange(2000), generator.random(2000)
    worse = losses + 0.01 + 0.1 * generator.normal(size=2000)
    once = ablation.compare([make_fit(worse, rows)], [make_fit(losses, rows)])
    assert once.mean == pytest.approx(0.01, abs=0.006)
    assert once.high - once.low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(2000), rel=0.1)
    thrice = ablation.compare([make_fit(worse, rows)] * 3, [make_fit(losses, rows)] * 3)
    assert (thrice.mean, thrice.low, thrice.high) == pytest.approx((once.mean, once.low, once.high))
    apart = ablation.compare(
        [make_fit(worse, rows), make_fit(worse, rows + 2000)], [make_fit(losses, rows), make_fit(losses, rows + 2000)]
    )
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / np.sqrt(2))


def test_the_table_and_the_picture_have_a_row_a_variant(ablation: ModuleType, tmp_path: Any) -> None:
    fits = [make_fit(np.full(100, 0.3), np.arange(100))]
    found = {"depth": ablation.compare([make_fit(np.full(100, 0.31), np.arange(100))], fits)}
    told = argparse.Namespace(data=Path("bank.csv"), seeds=[1, 2], parts=1, folds=5)
    table = ablation.make_table(found, fits, told)
    assert "bank.csv, seeds 1, 2, 1 of 5 folds each, 5 inner ones." in table
    assert "| only trees of depth 6 | +0.0100 [+0.0100, +0.0100] | +0.0000 |" in table
    ablation.draw(found, tmp_path / "ablation.svg")
    assert "<svg" in (tmp_path / "ablation.svg").read_text()


def test_variants_are_named_or_refused(ablation: ModuleType) -> None:
    assert ablation.parse_variants("depth,bins") == ["everything", "depth", "bins"]
    with pytest.raises(argparse.ArgumentTypeError, match="unknown: tree; known: everything, "):
        ablation.parse_variants("tree")


@pytest.mark.slow
def test_everything_is_what_training_teaches_and_what_is_left_out_is_left_out(
    ablation: ModuleType, dataset: Dataset, tmp_path: Any
) -> None:
    config = Config.from_dict(CONFIG)
    bench = ablation.Bench(dataset, config, seed=4, part=1)
    assert not set(bench._left_out) & set(bench._fitted)
    test = job.choose_rows(dataset.labels, job.Options(seed=4))["test"]
    assert not set(test) & {*bench._fitted, *bench._left_out}

    said = {name: bench.judge(ablation.VARIANTS[name]) for name in ("everything", "trees", "depth", "bins")}
    fitted = job.fit(dataset, {"train": bench._fitted}, job.Options(seed=4, config=config))
    np.testing.assert_array_equal(said["everything"], fitted.predict(dataset.raw[bench._left_out]))
    for name in ("trees", "depth", "bins"):
        assert np.abs(said[name] - said["everything"]).max() > 1e-4, name
    # What one variant changed of what they share does not stay.
    np.testing.assert_array_equal(bench.judge(ablation.VARIANTS["everything"]), said["everything"])

    bench.fit(ablation.VARIANTS["bins"], tmp_path / "fit.npz")
    kept = np.load(tmp_path / "fit.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]
    np.testing.assert_array_equal(kept["probabilities"], said["bins"])
    np.testing.assert_array_equal(kept["labels"], dataset.labels[kept["rows"]])
