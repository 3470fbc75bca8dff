"""A network trained on a streamed table. What runs a second process is marked slow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd
import pytest
from processes import run_python
from quick import make_options

from churn.bundle import read_bundle
from churn.scorer import load_scorer
from churn.trust.support import MEMBERS_FILE
from training.streaming import job
from training.streaming.fit import choose_batch
from training.streaming.sample import least_importance
from training.streaming.settings import Streaming
from training.streaming.spread import Split, open_streamed
from training.streaming.strategy import choose_strategy, is_mixed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from training.job import Outcome
    from training.streaming.spread import StreamedTable

SPLIT = Split(0.2, 0.1, 0)
QUICK = Streaming(epochs=2, sample_rows=400)


@pytest.fixture(scope="module")
def table(bank_csv: Path) -> Iterator[StreamedTable]:
    with open_streamed(bank_csv, SPLIT) as opened:
        yield opened


@pytest.fixture(scope="module")
def streamed(table: StreamedTable, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A bundle with its report, pictures and all."""
    return job.train(table, tmp_path_factory.mktemp("streamed") / "models", make_options(), QUICK, "churn train x")


def test_both_engines_take_the_bundle_for_one_like_any_other(
    streamed: Outcome, table: StreamedTable, outcome: Outcome
) -> None:
    # One network has no members, and so no range of the probability; it has neighbours.
    files = {path.name for path in outcome.folder.iterdir()} - {MEMBERS_FILE}
    assert {path.name for path in streamed.folder.iterdir()} == files
    said = [load_scorer(streamed.folder, engine).score_raw(table.sample.raw) for engine in ("onnx", "tensorflow")]
    assert np.abs(said[0] - said[1]).max() <= 2e-6
    mine, other = (read_bundle(found.folder).manifest.content for found in (streamed, outcome))
    assert set(mine) == set(other)
    assert set(other["support"]) - set(mine["support"]) == {"members"}
    for name, histogram in mine["histograms"].items():
        assert set(histogram) == set(other["histograms"][name])
        assert sum(histogram["counts"]) + histogram["missing"] == table.counts["train"]
    assert sum(mine["score_histogram"]["counts"]) == table.counts["train"]
    assert {name: part["customers"] for name, part in mine["metrics"].items()} == table.counts
    assert mine["settings"]["streaming"]["epochs"] == 2


def test_the_report_counts_all_customers_and_says_how_it_was_trained(streamed: Outcome, table: StreamedTable) -> None:
    page = (streamed.folder / "report.html").read_text()
    card = (streamed.folder / "model_card.md").read_text()
    assert f"<td>{table.counts['train']}</td>" in page
    assert f"train {table.counts['train']}, validation {table.counts['validation']}, test" in card
    for text in (page, card):
        assert f"then on all {table.counts['train']} training customers with 256 customers per step" in text
        assert "on 1 device(s) in float32" in text


def test_the_file_s_form_makes_no_difference_and_the_same_seed_gives_the_same_weights(
    streamed: Outcome, bank_csv: Path, tmp_path: Path
) -> None:
    pd.read_csv(bank_csv).to_parquet(tmp_path / "bank.parquet", index=False)
    with open_streamed(tmp_path / "bank.parquet", SPLIT) as other:
        fitted = (streamed.trained.fitted, job.fit(other, make_options(), QUICK))
    for found, expected in zip(*(each.result.model.get_weights() for each in fitted), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_start_in_float16_is_trained_and_saved_in_float32(table: StreamedTable, tmp_path: Path) -> None:
    mixed = Streaming(epochs=1, sample_rows=400, mixed_precision=True)
    result = job.fit(table, make_options(), mixed).result
    assert "in float16 with weights in float32" in result.notes[-1]
    assert np.isfinite([*result.history["loss"], *result.history["val_loss"]]).all()
    result.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {layer.dtype_policy.name for layer in loaded.layers} == {"float32"}
    assert {weight.dtype for weight in loaded.trainable_weights} == {"float32"}


@pytest.mark.slow
def test_a_streamed_training_may_start_from_an_earlier_version(own_models: Path, table: StreamedTable) -> None:
    assert job.train(table, own_models, make_options(warm_start=1, promote=False), QUICK).version == 2
    choices = [read_bundle(own_models / name).manifest.content["network"]["choice"] for name in ("2", "1")]
    assert choices[0]["depth"] == choices[1]["depth"]
    assert choices[0]["features_left_out"] == choices[1]["features_left_out"]


def test_a_step_takes_fewer_customers_where_the_table_is_small_and_more_on_more_devices() -> None:
    assert choose_batch(500, 8192, 1) == 256
    assert choose_batch(144_000, 8192, 1) == 512
    assert choose_batch(7_200_000, 8192, 1) == 8192
    assert choose_batch(7_200_000, 8192, 4) == 4 * 8192
    assert choose_batch(7_200_000, 3000, 1) == 2048


def test_passes_are_more_where_the_table_is_small() -> None:
    assert [Streaming().choose_epochs(rows) for rows in (1000, 7_200_000, 80_000_000)] == [8, 6, 4]
    assert Streaming(epochs=1).choose_epochs(1000) == 1


def test_a_sample_leaves_out_only_what_all_rows_would_not_tell_either() -> None:
    assert least_importance(4.0, 1.0) == 4.0
    assert least_importance(4.0, 0.25) == pytest.approx(4 / 2 - 2 * np.sqrt(3) / 2)
    assert least_importance(4.0, 1e-6) == pytest.approx(-2, abs=0.01)


def test_without_a_gpu_there_is_one_device_and_full_precision() -> None:
    assert choose_strategy(Streaming()).num_replicas_in_sync == 1
    assert not is_mixed(Streaming())


TWO_DEVICES = """
import json, sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from quick import make_options
from training.streaming.records import write_records
from training.streaming.sample import fit_on_sample
from training.streaming.settings import Streaming
from training.streaming.spread import Split, open_streamed
from training.streaming import fit

fit.STEPS_AN_EPOCH = 1  # so that a step holds 512 customers on one device and on two
config = make_options().config
with open_streamed(Path(sys.argv[1]), Split(0.2, 0.1, 0)) as table:
    start = fit_on_sample(table, config, Streaming(sample_rows=400), 0, None)
    every = np.arange(start.preprocessor.width)
    records = write_records(table.shards, start.preprocessor, every, table.counts["train"])
    rows = table.rows["validation"]
    matrix = start.preprocessor.transform(table.sample.raw[rows])
    labels = table.sample.labels[rows].astype(np.float32)
    for devices, mixed in (((), False), (("CPU:0", "CPU:1"), False), (("CPU:0", "CPU:1"), True)):
        streaming = Streaming(epochs=3, learning_rate=0.05, devices=devices, mixed_precision=mixed)
        result = fit.fit_streamed(start, records, matrix, labels, streaming, 0)
        print(json.dumps([result.history["val_loss"], result.notes[-1]]))
"""


@pytest.mark.slow
def test_two_devices_in_step_fit_what_one_teaches(bank_csv: Path) -> None:
    answer = run_python("-c", TWO_DEVICES, bank_csv, covered=False)
    (one, said_one), (two, said_two), (mixed, said_mixed) = map(json.loads, answer.stdout.splitlines())
    assert "512 customers per step on 1 device(s) in float32" in said_one
    assert "512 customers per step on 2 device(s) in float32" in said_two
    assert "512 customers per step on 2 device(s) in float16" in said_mixed
    assert abs(one[-1] - one[0]) > 1e-3
    assert two[0] == pytest.approx(one[0], abs=1e-5)
    assert two == pytest.approx(one, abs=1e-3)  # sums are added up in another order, and AdamW makes more of it
    assert mixed == pytest.approx(one, abs=2e-3)
