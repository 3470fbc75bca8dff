"""The parts of the default network, each on data whose answer is known."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from churn.layers import TailIndicators
from training.default import distill
from training.default.bag import Bag, Task
from training.default.calibrate import fit_scaling, to_logit, to_probability
from training.default.config import Config, ConfigError, read_config, write_config
from training.default.selection import choose_columns, weigh_features
from training.default.tails import Tail, find_tails, mark_tails, predict_without_tails
from training.default.teach import _pool_cuts, assemble

if TYPE_CHECKING:
    from pathlib import Path


def draw(seed: int, rows: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Three columns: one that matters, noise, and one that matters in its lowest quarter of a percent alone."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, 3)).astype(np.float32)
    logits = 1.5 * matrix[:, 0] - 1 + 8 * (matrix[:, 2] < -2.8)
    return matrix, (generator.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def test_a_tail_is_found_where_it_is_and_nowhere_else() -> None:
    matrix, labels = draw(0, rows=8000)
    everything = np.arange(3)
    reference = predict_without_tails(matrix, labels, everything, seed=0)
    tails = find_tails(matrix, labels, reference, everything, replace(Config(), tail_gain=10.0), seed=0)
    assert [(tail.column, tail.sign) for tail in tails] == [(2, 1)]
    assert np.median(tails[0].cuts) == pytest.approx(-2.8, abs=0.15)


def test_no_tails_are_looked_for_when_none_may_be_kept() -> None:
    matrix, labels = draw(0, rows=200)
    assert find_tails(matrix, labels, np.full(200, 0.3), np.arange(3), replace(Config(), max_tails=0), seed=0) == []


def test_a_staircase_is_the_share_of_cuts_passed() -> None:
    matrix = np.array([[-3.0], [-2.0], [0.0]], dtype=np.float32)
    np.testing.assert_allclose(mark_tails(matrix, [Tail(0, 1, (-2.5, -1.0))])[:, 0], [1, 0.5, 0])
    np.testing.assert_allclose(mark_tails(matrix, [Tail(0, -1, (-2.5, -1.0))])[:, 0], [0, 0.5, 1])
    assert mark_tails(matrix, []).shape == (3, 0)


def test_noise_weighs_little_and_is_not_kept() -> None:
    matrix, labels = draw(1)
    groups = [np.array([0]), np.array([1]), np.array([2])]
    weights = weigh_features(matrix, labels, groups, [], seed=0)
    assert weights[0] > 10
    assert weights[1] < 3
    np.testing.assert_array_equal(choose_columns(groups, np.array([9.0, 1.0, 5.0]), Config()), [0, 2])
    np.testing.assert_array_equal(choose_columns(groups, np.array([1.0, 0.0, 2.0]), Config()), [0, 2])


def test_scaling_undoes_logits_that_are_too_steep() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(size=200_000)
    labels = (generator.random(200_000) < to_probability(true, 0.01)).astype(np.float32)
    slope, offset = fit_scaling(3 * true + 1, labels, 0.01)
    assert slope == pytest.approx(1 / 3, abs=0.01)
    assert offset == pytest.approx(-1 / 3, abs=0.02)


def test_logit_and_probability_undo_each_other() -> None:
    logits = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(to_logit(to_probability(logits, 0.005), 0.005), logits, atol=1e-9)


def test_the_bag_learns_and_each_member_from_its_own_rows() -> None:
    matrix, labels = draw(2)
    rows = [np.arange(0, 700), np.arange(700, 1500)]
    config = replace(Config(), folds=2, repeats=1, hidden=(8,), epochs=8, batch_size=64)
    task = Task(matrix, labels, np.zeros((2, 1500, 1), np.float32), rows, np.ones(3, np.float32))
    bag = Bag(task, config, seed=0)
    history = bag.teach()
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert history["val_loss"][-1] < 0.6
    logits = bag.smooth_logits(matrix)
    assert logits.shape == (2, 1500)
    assert not np.allclose(logits[0], logits[1], atol=0.01)


@pytest.mark.parametrize("floor", [0.0, 1e-9])
def test_without_a_noise_floor_the_bag_learns_what_is_certain(floor: float) -> None:
    matrix = np.random.default_rng(0).normal(size=(600, 1)).astype(np.float32)
    labels = (matrix[:, 0] > 0).astype(np.float32)
    config = replace(Config(), hidden=(8,), epochs=30, batch_size=64, learning_rate=0.3, dropout=0.0, label_noise=floor)
    task = Task(matrix, labels, np.zeros((1, 600, 0), np.float32), [np.arange(600)], np.zeros(1, np.float32))
    bag = Bag(task, config, seed=0)
    assert np.isfinite(bag.teach()["loss"]).all()
    assert np.abs(bag.smooth_logits(100 * matrix)).max() > 30


def test_made_up_customers_take_whole_features_from_real_ones() -> None:
    matrix = np.arange(40, dtype=np.float32).reshape(10, 4)
    groups = [np.array([0, 1]), np.array([2]), np.array([3])]
    made = distill.make_up_customers(matrix, groups, np.array([], dtype=np.int64), 500, np.random.default_rng(0))
    pairs = {tuple(row) for row in matrix[:, :2].tolist()}
    assert {tuple(row) for row in made[:, :2].tolist()} <= pairs
    assert any(row.tolist() not in matrix.tolist() for row in made)


def test_a_student_learns_to_say_what_it_is_told() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(2000, 2)).astype(np.float32)
    logits = np.sin(2 * matrix[:, 0]).astype(np.float64) + matrix[:, 1]
    keras.utils.set_random_seed(0)
    student = distill.build_smooth(2, (16, 8))
    distill.teach_student(student, matrix, logits, replace(Config(), student_steps=1500), seed=0)
    said = np.asarray(student(matrix))[:, 0]
    assert np.abs(said - logits).mean() < 0.1


def test_pooled_cuts_add_up_to_the_members_mean() -> None:
    tails = [[Tail(0, 1, (-2.0, -1.0))], [Tail(0, 1, (-1.5,)), Tail(2, -1, (3.0,))]]
    weights = np.array([[1.0, 0.0], [3.0, 5.0]])
    pooled = _pool_cuts(tails, weights)
    assert sum(weight for column, _, _, weight in pooled if column == 0) == pytest.approx((1 + 3) / 2)
    assert [(column, sign, cut) for column, sign, cut, _ in pooled if column == 2] == [(2, -1, 3.0)]
    assert sum(weight for column, *_, weight in pooled if column == 2) == pytest.approx(5 / 2)


def test_the_assembled_network_ignores_columns_that_were_not_kept_and_jumps_at_tails() -> None:
    smooth = distill.build_smooth(1, (4,))
    model = assemble(smooth, np.array([1]), [(0, 1, -2.0, 1.5)], 3, replace(Config(), student=(4,), label_noise=0.01))

    def ask(*row: float) -> float:
        return float(np.asarray(model(np.array([row], dtype=np.float32)))[0, 0])

    assert ask(0, 0.3, 5) == ask(0, 0.3, -5) == ask(-1.9, 0.3, 0)
    inside, beyond = (np.log(q / (1 - q)) for q in ((ask(row, 0.3, 0) - 0.01) / 0.98 for row in (0, -2.1)))
    assert beyond - inside == pytest.approx(1.5, abs=1e-4)
    assert 0.01 < ask(0, 0.3, 0) < 0.99


def test_tail_indicators_survive_saving(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, TailIndicators([0, 1], [1, -1], [-1.0, 2.0])(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    matrix = np.array([[-2.0, 0.0], [-1.0, 2.0], [0.0, 3.0]], dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(loaded(matrix)), [[1, 0], [0, 0], [0, 1]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"hidden": []}, "at least one layer"),
        ({"hidden": ["a"]}, "hidden is"),
        ({"depth": 3}, "unknown: depth"),
        ({"folds": 2.5}, "folds is 2.5"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; allowed: a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"noise": float("inf")}, "noise is inf"),
        ({"label_noise": 0.5}, "below 0.5"),
        ({"student": [8, 0]}, "student is"),
        ({"max_tails": -1}, "max_tails is -1; allowed: a whole number of 0 or more"),
        ({"epochs": True}, "epochs is True"),
    ],
)
def test_an_impossible_configuration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_dict(values)


def test_a_configuration_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[network]\nepochs = 3\nhidden = [8, 4]\n")
    assert read_config(path) == replace(Config(), epochs=3, hidden=(8, 4))
    assert Config.from_dict(Config().to_dict()) == Config()
    path.write_text("[network\n")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs = 3\n", "it holds epochs; allowed: one table"),
        ("[network]\nepochs = 3\n[netwrok]\ndropout = 0.1\n", "it holds network, netwrok; allowed: one table"),
        ("", "it holds nothing"),
        ("network = 3\n", "it holds network"),
        ("[network]\ndepth = 3\n", "unknown: depth; known: folds, "),
    ],
)
def test_what_a_configuration_file_says_elsewhere_is_not_passed_over(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))}: {says}"):
        read_config(path)


def test_a_configuration_that_is_written_is_read_again(tmp_path: Path) -> None:
    config = replace(Config(), hidden=(8, 4), learning_rate=0.0123, keep_columns=-1.0)
    write_config(tmp_path / "config.toml", config, ["found", "somewhere"])
    assert read_config(tmp_path / "config.toml") == config
    assert (tmp_path / "config.toml").read_text().startswith("# found\n# somewhere\n[network]\n")
