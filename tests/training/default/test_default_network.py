"""The families of the default network, each on data whose answer is known."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from quick import CONFIG, make_options

from churn.feature import Feature
from churn.layers import ObliviousTrees as TreesLayer
from churn.schema import Schema
from training import job
from training.context import TrainingContext
from training.dataset import Dataset
from training.default.assemble import LINEAR, TAILS, TREES, assemble
from training.default.bins import find_bins, limit_bins
from training.default.columns import in_standard_errors, keep_features, permute_features
from training.default.config import Config, ConfigError, read_config, write_config
from training.default.folds import losses_of, split_folds
from training.default.inputs import read_scores
from training.default.linear import fit_linear
from training.default.members import (
    KINDS,
    Networks,
    encode,
    fit_network_families,
    fit_standard_family,
)
from training.default.networks import Recipe, fit_networks
from training.default.oblivious import ObliviousTrees, average, no_trees, read_trees, to_fixed_point
from training.default.stack import fit_scaling, fit_stack
from training.default.train import fit
from training.default.views import Views
from training.level_statistics import FoldedLabels, fit_level_tables
from training.networks import NETWORKS
from training.preprocess import fit_with_statistics

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe((16,), dropout=0.1, noise=0.1, weight_decay=0.1, learning_rate=0.02, averaging=0.95, epochs=30,
                batch_size=64)  # fmt: skip


def draw(seed: int, rows: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Two columns that matter together, and one of noise."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, 3)).astype(np.float32)
    logits = 2 * np.sin(2 * matrix[:, 0]) + matrix[:, 0] * matrix[:, 1] - 1
    return matrix, (generator.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def make_dataset(raw: np.ndarray, labels: np.ndarray, features: tuple[Feature, ...] | None = None) -> Dataset:
    chosen = features or tuple(Feature(f"x{column}", "number") for column in range(raw.shape[1]))
    return Dataset(Schema(chosen, "left"), raw.astype(np.float64), labels.astype(np.float64), {}, ())


def make_cities(seed: int) -> tuple[np.ndarray, np.ndarray, Schema]:
    """Three quantities and a category of 50 levels, as a raw matrix; labels; their schema."""
    matrix, labels = draw(seed, rows=600)
    raw = np.column_stack([matrix, np.random.default_rng(0).integers(0, 50, 600)]).astype(np.float64)
    city = Feature("city", "category", categories=tuple(f"level {code}" for code in range(50)))
    return raw, labels, Schema((*(Feature(f"x{column}", "number") for column in range(3)), city), "left")


def view_cities(raw: np.ndarray, labels: np.ndarray, schema: Schema, folds: list[Any]) -> Views:
    encoding = replace(NETWORKS["default"].encoding, most_levels=10, level_rows=1)
    _, preprocessor, inner = fit_with_statistics(schema, raw, encoding, FoldedLabels(labels, folds, 0))
    return Views(preprocessor.transform(raw), preprocessor, inner)


def fit_model(dataset: Dataset, **changes: Any) -> Any:
    options = make_options()
    options = replace(options, config=replace(options.config, **changes))
    return job.fit(dataset, {"train": np.arange(len(dataset.labels))}, options)


def fit_catboost(matrix: np.ndarray, labels: np.ndarray, **options: Any) -> Any:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=40, thread_count=1, verbose=False, allow_writing_files=False, **options)
    return model.fit(matrix, labels)


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_trees_that_were_read_say_what_the_model_says_to_the_last_border(depth: int) -> None:
    matrix, labels = draw(0)
    model = fit_catboost(matrix, labels, depth=depth)
    trees = read_trees(model, np.array([0, 1, 2]))
    np.testing.assert_allclose(trees.predict(matrix), model.predict(matrix, prediction_type="RawFormulaVal"), atol=1e-9)
    # On a border, and one step of float32 beyond it.
    for level, tree in ((0, 0), (0, len(trees) - 1)):
        column, border = trees.columns[level, tree], trees.borders[level, tree]
        rows = np.zeros((2, 3), np.float32)
        rows[:, column] = border, np.nextafter(border, np.float32(np.inf))
        np.testing.assert_allclose(trees.predict(rows), model.predict(rows, prediction_type="RawFormulaVal"), atol=1e-9)


def test_a_bag_of_trees_of_different_depths_is_their_mean() -> None:
    matrix, labels = draw(1)
    bag = [read_trees(fit_catboost(matrix, labels, depth=depth), np.arange(3)) for depth in (2, 3)]
    said = np.mean([trees.predict(matrix) for trees in bag], axis=0)
    np.testing.assert_allclose(average(bag).predict(matrix), said, atol=1e-12)


def test_trees_in_fixed_point_add_up_to_the_same_in_any_order() -> None:
    leaves = np.random.default_rng(0).normal(size=(3000, 32)) * np.geomspace(1, 1e-6, 3000)[:, None]
    rounded = to_fixed_point(leaves)
    assert np.abs(rounded - leaves).max() <= 2.0**-12
    chosen = rounded[np.arange(3000), np.random.default_rng(1).integers(0, 32, 3000)]
    forwards, backwards = (np.add.reduce(list(order), dtype=np.float32) for order in (chosen, chosen[::-1]))
    assert forwards == backwards == np.float32(chosen.astype(np.float64).sum())


def test_the_layer_of_trees_says_what_the_trees_say() -> None:
    import keras

    matrix, labels = draw(2)
    trees = read_trees(fit_catboost(matrix, labels, depth=3), np.arange(3))
    inputs, layer = keras.Input((3,)), TreesLayer(len(trees), 3)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([trees.columns, trees.borders, to_fixed_point(trees.leaves)])
    np.testing.assert_allclose(np.asarray(model(matrix))[:, 0] + trees.bias, trees.predict(matrix), atol=1e-4)


def test_bins_are_zero_below_one_above_and_linear_between() -> None:
    matrix = np.column_stack([np.arange(101.0), np.arange(101) % 3]).astype(np.float32)
    bins = find_bins(matrix, np.array([0, 1]), np.array([0, 1]), 4)
    encoded = bins.encode(matrix)
    assert encoded.shape == (101, 8)
    np.testing.assert_allclose(encoded[0, :4], 0)
    np.testing.assert_allclose(encoded[100, :4], 1)
    assert (np.diff(encoded[:, :4], axis=0) >= 0).all()
    np.testing.assert_allclose(encoded[:3, 4:6], [[0, 0], [1, 0], [1, 1]])
    far = bins.encode(np.array([[-1e30, -1e30], [1e30, 1e30]], np.float32))
    assert np.isfinite(far).all()


def test_normal_scores_are_normal_and_keep_the_order_however_heavy_the_tail() -> None:
    values = np.exp(8 * np.random.default_rng(0).normal(size=(4000, 1))).astype(np.float32)
    bins = find_bins(values, np.array([0]), np.array([0]), 14)
    scores = read_scores(bins).read(bins.encode(values))[:, 0]
    assert abs(scores.mean()) < 0.2
    assert 0.7 < scores.std() < 1.3
    assert (np.diff(scores[np.argsort(values[:, 0])]) >= 0).all()


def test_a_wide_table_gets_fewer_bins_a_quantity() -> None:
    assert limit_bins(10, 14) == 14
    assert limit_bins(300, 14) == 2


def test_noise_weighs_little_and_is_left_out_first() -> None:
    matrix, labels = draw(3, rows=4000)
    truth = lambda rows: 2 * np.sin(2 * rows[:, 0]) + rows[:, 0] * rows[:, 1] - 1  # noqa: E731
    groups = [np.array([column]) for column in range(3)]
    rises = permute_features(truth, matrix, labels, groups, np.random.default_rng(0))
    importances = in_standard_errors(rises)
    assert importances[0] > 10
    assert importances[1] > 5
    assert importances[2] == 0
    assert keep_features(importances, 2.0).tolist() == [True, True, False]
    assert keep_features(np.array([1.0, 0.0, 2.0]), 9.0).tolist() == [True, False, True]


def test_networks_learn_what_a_linear_model_can_not() -> None:
    matrix, labels = draw(4)
    folds = split_folds(labels, 3, 0)
    inside = [matrix[rows] for rows, _ in folds]
    bag = fit_networks(inside, matrix, labels, folds, np.ones(3, np.float32), 3, RECIPE, 0)
    linear = fit_linear(inside, matrix, labels, folds)
    assert losses_of(labels, bag.logits).mean() < losses_of(labels, linear.logits).mean() - 0.05
    assert bag.losses[0] > min(bag.losses)
    again = fit_networks(inside, matrix, labels, folds, np.ones(3, np.float32), 3, RECIPE, 0)
    np.testing.assert_array_equal(again.logits, bag.logits)


def test_a_gradient_is_the_slope_of_the_loss() -> None:
    from training.default.networks import _Fit

    matrix, labels = draw(5, rows=60)
    recipe = replace(RECIPE, hidden=(5, 4), dropout=0.0, noise=0.0, batch_size=1000)
    folds = [(np.arange(60), np.arange(0))] * 2
    fit = _Fit([matrix] * 2, matrix, labels, folds, np.zeros(3, np.float32), 3, recipe, 0)
    weights, slopes = fit._view(fit._flat), fit._view(fit._gradient)
    places = [np.arange(60)] * 2

    def loss() -> float:
        total = 0.0
        for member in range(2):
            hidden = matrix.astype(np.float64)
            for layer in range(2):
                added = hidden @ weights[2 * layer][member] + weights[2 * layer + 1][member]
                hidden = added / (1 + np.exp(-added))
            total += losses_of(labels, (hidden @ weights[4][member] + weights[5][member])[:, 0]).mean()
        return total

    fit._descend(weights, slopes, places)
    found = fit._gradient.copy()
    for place in np.linspace(0, len(found) - 1, 25).astype(int):
        kept, step = fit._flat[place], np.float32(1e-2)
        fit._flat[place] = kept + step
        above = loss()
        fit._flat[place] = kept - step
        slope = (above - loss()) / (2 * float(step))
        fit._flat[place] = kept
        assert slope == pytest.approx(found[place], abs=2e-4)


def test_the_stack_weighs_what_helps_and_leaves_out_what_does_not() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=20_000) * 2
    labels = (generator.random(20_000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    families = {
        "one": truth + generator.normal(size=20_000),
        "two": truth + generator.normal(size=20_000),
        "noise": generator.normal(size=20_000),
        "against": -truth,
    }
    stack = fit_stack(families, labels)
    assert stack.weights["noise"] == stack.weights["against"] == 0
    assert stack.weights["one"] == pytest.approx(stack.weights["two"], abs=0.1)
    alone = fit_stack({"one": families["one"]}, labels)
    assert losses_of(labels, stack.logits).mean() < losses_of(labels, alone.logits).mean()


def test_the_stack_says_the_share_of_leavers_where_nothing_can_be_learnt() -> None:
    generator = np.random.default_rng(1)
    labels = (generator.random(3000) < 0.2).astype(np.float32)
    stack = fit_stack({"noise": generator.normal(size=3000), "more": generator.normal(size=3000)}, labels)
    assert stack.weights == {"noise": 0, "more": 0}
    assert 1 / (1 + np.exp(-stack.bias)) == pytest.approx(labels.mean())


def test_scaling_undoes_logits_that_are_too_steep() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(size=200_000)
    labels = (generator.random(200_000) < 1 / (1 + np.exp(-true))).astype(np.float32)
    slope, offset = fit_scaling(3 * true + 1, labels)
    assert slope == pytest.approx(1 / 3, abs=0.01)
    assert offset == pytest.approx(-1 / 3, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("networks", [0, 3, 4])
def test_the_network_is_the_stack_itself(networks: int) -> None:
    """The mean of the members, whatever is weighed."""
    raw, labels, schema = make_cities(6)
    folds = split_folds(labels, 2, 0)
    views = view_cities(raw, labels, schema, folds)
    config = Config.from_dict({**CONFIG, "networks": networks})
    context = TrainingContext(
        views.matrix, labels, views.preprocessor, config, 0, None, folds, views.inner, schema.names
    )
    families = replace(fit(context).families, tails=ObliviousTrees(
        np.array([[0, 1]], np.int32), np.array([[-2, 1.5]], np.float32), np.array([[0.7, 0], [0, -0.4]]), 0.0
    ))  # fmt: skip
    weights = {TREES: 0.5, LINEAR: 0.3, TAILS: 1.5} | dict.fromkeys(KINDS[:networks], 0.25)
    model = assemble(families, weights, -0.2, views.matrix.shape[1])
    encoded = families.bins.encode(views.matrix)
    expected = -0.2 + 0.5 * families.trees.predict(views.matrix)
    expected += 0.3 * (encoded @ families.linear.weights + families.linear.bias)
    expected += 1.5 * (0.7 * (views.matrix[:, 0] <= -2) - 0.4 * (views.matrix[:, 1] > 1.5))
    for family in families.networks:
        said = [ask_member(family, member, views.matrix) for member in range(2)]
        expected += 0.25 * np.mean(said, axis=0)
    found = np.asarray(model(views.matrix))[:, 0]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected)), atol=2e-6)


def ask_member(family: Networks, member: int, matrix: np.ndarray) -> np.ndarray:
    kernel, bias = family.merge_inputs(member)
    hidden = family.inputs.bins.encode(matrix) @ kernel + bias
    for layer in range(1, len(family.bag.kernels)):
        hidden = hidden / (1 + np.exp(-hidden)) @ family.bag.kernels[layer][member] + family.bag.biases[layer][member]
    return hidden[:, 0]


@pytest.mark.slow
def test_what_is_judged_out_of_fold_is_what_ships() -> None:
    """On rows that a member was not fitted on, it says with its kernel on bins what it was judged by."""
    raw, labels, schema = make_cities(7)
    folds = split_folds(labels, 2, 0)
    views = view_cities(raw, labels, schema, folds)
    assert views.owners.tolist() == [-1, -1, -1, 0, 1]
    every, config = np.ones(4, dtype=bool), Config.from_dict({**CONFIG, "networks": 4})
    families = fit_network_families([encode(views, folds, every, 6)], labels, folds, config, 0)
    families.append(fit_standard_family(views, [every], labels, folds, config, 0))
    assert [family.kind for family in families] == list(KINDS)
    for family in families:
        for member, (_, rows) in enumerate(folds):
            said = ask_member(family, member, views.matrix[rows])
            np.testing.assert_allclose(said, family.bag.logits[rows], atol=1e-4)


def test_statistics_of_levels_never_know_the_row_s_own_label() -> None:
    labels = (np.random.default_rng(0).random(2000) < 0.5).astype(np.float32)
    codes = np.arange(2000.0)[:, None] // 2  # two rows a level: a statistic that knew their labels would tell them
    folds = split_folds(labels, 4, 0)
    tables, inner = fit_level_tables(codes, FoldedLabels(labels, folds, 0), {0: 1000})
    assert [table.fold for table in tables] == [0, 1, 2, 3]
    for table, values, (fitted, held_out) in zip(tables, inner, folds, strict=True):
        assert abs(np.corrcoef(table.look_up(codes[held_out, 0]), labels[held_out])[0, 1]) < 0.15
        assert abs(np.corrcoef(values[fitted], labels[fitted])[0, 1]) < 0.15
        assert np.isnan(values[held_out]).all()
        assert table.look_up(np.array([np.nan, 1000.0, 5e9])).tolist() == [table.numbers[-1]] * 3


@pytest.mark.slow
def test_nothing_to_learn_becomes_the_share_of_leavers_and_says_so() -> None:
    generator = np.random.default_rng(3)
    dataset = make_dataset(generator.normal(size=(400, 3)), generator.random(400) < 0.3)
    fitted = fit_model(dataset)
    said = fitted.predict(dataset.raw)
    assert np.unique(said).tolist() == [pytest.approx(dataset.labels.mean(), abs=1e-6)]
    assert "every customer gets the share of leavers" in fitted.result.warnings[0]


@pytest.mark.slow
def test_a_table_that_a_line_tells_apart_stays_finite_and_says_when_a_logistic_regression_is_better() -> None:
    generator = np.random.default_rng(4)
    raw = generator.normal(size=(300, 2))
    dataset = make_dataset(raw, raw @ [1, 1] > 0)
    fitted = fit_model(dataset, networks=0)
    said = fitted.predict(raw)
    assert np.isfinite(said).all()
    assert ((said > 0.5) == dataset.labels).mean() > 0.95
    losses = fitted.result.details["out_of_fold"]
    noted = any("logistic regression is better out of fold" in warning for warning in fitted.result.warnings)
    assert noted == (losses["logistic regression"] < losses["stack"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "columns", "share"), [(200, 5, 0.3), (1500, 4, 0.01), (300, 300, 0.3)], ids=["few", "rare", "wide"]
)
def test_tables_at_the_edge_give_finite_calibrated_probabilities(rows: int, columns: int, share: float) -> None:
    generator = np.random.default_rng(5)
    raw = generator.normal(size=(rows, columns))
    order = raw[:, 0] + 0.5 * generator.normal(size=rows)
    dataset = make_dataset(raw, order >= np.sort(order)[round(rows * (1 - share))])
    fitted = fit_model(dataset, networks=3, folds=3)
    said = fitted.predict(raw)
    assert np.isfinite(said).all()
    assert said.mean() == pytest.approx(dataset.labels.mean(), abs=0.06)
    assert fitted.result.details["out_of_fold"]["stack"] <= fitted.result.details["out_of_fold"]["share of leavers"]


@pytest.mark.slow
def test_constant_and_repeated_columns_do_no_harm() -> None:
    matrix, labels = draw(8, rows=400)
    raw = np.column_stack([np.full(400, 7.0), matrix[:, 0], matrix[:, 0]])
    assert np.isfinite(fit_model(make_dataset(raw, labels)).predict(raw)).all()
    alone = fit_model(make_dataset(np.full((400, 1), 7.0), labels)).predict(np.full((3, 1), 7.0))
    assert alone == pytest.approx(labels.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"hidden": []}, "at least one layer"),
        ({"hidden": ["a"]}, "hidden is"),
        ({"width": 3}, "unknown: width"),
        ({"folds": 2.5}, "folds is 2.5"),
        ({"folds": 1}, "folds is 1; allowed: a whole number of 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; allowed: a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"noise": float("inf")}, "noise is inf"),
        ({"tree_depths": []}, "at least one depth from 1 to 10"),
        ({"tree_depths": [11]}, "at least one depth from 1 to 10"),
        ({"importance_steps": [float("nan")]}, "importance_steps is"),
        ({"networks": -1}, "networks is -1; allowed: a whole number of 0 or more"),
        ({"epochs": True}, "epochs is True"),
    ],
)
def test_an_impossible_configuration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_dict(values)


def test_a_configuration_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[network]\nepochs = 3\nhidden = [8, 4]\nimportance_steps = [1, 2.5]\n")
    assert read_config(path) == replace(Config(), epochs=3, hidden=(8, 4), importance_steps=(1.0, 2.5))
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
        ("[network]\nwidth = 3\n", "unknown: width; known: folds, "),
    ],
)
def test_what_a_configuration_file_says_elsewhere_is_not_passed_over(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))}: {says}"):
        read_config(path)


def test_a_configuration_that_is_written_is_read_again(tmp_path: Path) -> None:
    config = replace(Config(), hidden=(8, 4), learning_rate=0.0123, importance_steps=())
    write_config(tmp_path / "config.toml", config, ["found", "somewhere"])
    assert read_config(tmp_path / "config.toml") == config
    assert (tmp_path / "config.toml").read_text().startswith("# found\n# somewhere\n[network]\n")


def test_trees_that_do_not_exist_say_nothing() -> None:
    empty = no_trees(0.5)
    assert empty.predict(np.zeros((2, 1), np.float32)).tolist() == [0, 0]
    assert len(average([empty, empty])) == 0


@pytest.mark.slow
def test_a_feature_that_counts_at_its_end_alone_is_not_called_unused() -> None:
    generator = np.random.default_rng(9)
    raw = generator.normal(size=(4000, 4))
    logits = 2 * raw[:, 0] + 2 * raw[:, 3] - 1 + 4 * (raw[:, 1] < -2.2)
    dataset = make_dataset(raw, generator.random(4000) < 1 / (1 + np.exp(-logits)))
    # The doubt makes every choice of features good enough, so that the one with the two foremost is taken.
    result = fit_model(dataset, networks=0, importance_steps=(99.0,), doubt=-1000.0).result
    assert result.details["choice"]["features_left_out"] == ["x1", "x2"]
    assert "Not used, because the loss out of fold is lower without: x2 (1 of 4 features)." in result.notes
    assert "Used only at their lowest or highest values, where the rate of leavers differs: x1." in result.notes
