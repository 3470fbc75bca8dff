"""Walks the default network's line: tails, columns, bag, trees, calibration, student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from threadpoolctl import threadpool_limits

from churn.layers import TailIndicators
from training.default import distill
from training.default.bag import Bag, Task
from training.default.calibrate import fit_scaling, to_logit, to_probability
from training.default.selection import choose_columns, weigh_features
from training.default.tails import Tail, find_tails, mark_tails, predict_without_tails
from training.default.trees import fold, make_teacher
from training.lesson import Lesson, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import HistGradientBoostingClassifier

    from churn.preprocessing import Preprocessor
    from training.default.config import Config

MAX_CUTS = 16
"""Cuts kept of each tail's staircases, all members' together."""

TREE_SHARE = 0.9
"""Share of a fold's rows that its trees are taught on."""


Fold = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Rows to teach on, and rows left out."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of the matrix are what."""

    groups: list[NDArray[np.int64]]
    features: list[int]
    quantities: NDArray[np.int64]


def teach(lesson: Lesson) -> Result:
    """Teach the default network, cross-validated over all rows of the lesson."""
    # The trees' threads wait for each other by spinning: on a busy machine that takes ten times as long as one alone.
    with threadpool_limits(1, user_api="openmp"):
        return _teach(lesson, lesson.config)


def _teach(lesson: Lesson, config: Config) -> Result:
    matrix, truth, preprocessor, seed = lesson.matrix, lesson.labels, lesson.preprocessor, lesson.seed
    columns = _find_columns(preprocessor)
    folds = _split_folds(truth, config, seed)
    reference = predict_without_tails(matrix, truth, columns.quantities, seed)
    tails = [
        find_tails(matrix[rows], truth[rows], reference[rows], columns.quantities, config, seed) for rows, _ in folds
    ]
    all_tails = find_tails(matrix, truth, reference, columns.quantities, config, seed)
    weights = weigh_features(matrix, truth, columns.groups, all_tails, seed)
    kept = choose_columns(columns.groups, weights, config)
    noisy = np.isin(kept, columns.quantities)
    bag, history = _teach_bag(matrix, truth, kept, noisy, folds, tails, config, seed)
    teachers = Teachers(bag, _teach_trees(matrix, truth, kept, folds, tails, config), config)
    out_of_fold = teachers.say_out_of_fold(matrix[:, kept], folds)
    slope, offset = fit_scaling(out_of_fold, truth, config.label_noise)
    smooth = distill.build_smooth(len(kept), config.student)
    if lesson.earlier is not None:
        _start_from(smooth, lesson.earlier, kept)
    made = distill.make_up_customers(
        matrix, columns.groups, columns.quantities, config.synthetic_rows, np.random.default_rng(seed + 1)
    )
    shown = np.concatenate([matrix[:, kept]] * distill.REAL_COPIES + [made[:, kept]])
    said = slope * teachers.say(matrix[:, kept]) + offset
    said = np.concatenate([said] * distill.REAL_COPIES + [slope * teachers.say(made[:, kept]) + offset])
    distill.teach_student(smooth, shown, said, config, seed + 2)
    return Result(
        model=assemble(smooth, kept, _pool_cuts(tails, slope * bag.tail_weights), matrix.shape[1], config),
        history=history,
        out_of_fold=to_probability(slope * out_of_fold + offset, config.label_noise),
        notes=_describe(preprocessor, columns, weights, config, all_tails),
    )


class Teachers:
    """The bag and the trees, speaking as one.

    Parameters
    ----------
    bag : Bag
    trees : list of HistGradientBoostingClassifier
        One a fold, or none.
    config : Config
    """

    def __init__(self, bag: Bag, trees: list[HistGradientBoostingClassifier], config: Config) -> None:
        self._bag = bag
        self._trees = trees
        self._config = config

    def say(self, kept: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the mean logits without tails, shape (n,), for a matrix of the columns kept."""
        logits: NDArray[np.float64] = self._bag.smooth_logits(kept).mean(axis=0).astype(np.float64)
        if not self._trees:
            return logits
        return self._blend(logits, np.mean(np.stack([self._ask(tree, kept) for tree in self._trees]), axis=0))

    def say_out_of_fold(self, kept: NDArray[np.float32], folds: list[Fold]) -> NDArray[np.float64]:
        """Return the logits, tails included, of each row by those that were not taught on it, shape (n,)."""
        smooth, jumps = self._bag.smooth_logits(kept), self._bag.tail_logits()
        repeats = self._config.repeats
        logits = np.zeros(len(kept))
        for index, (_, left_out) in enumerate(folds):
            members = slice(index * repeats, (index + 1) * repeats)
            said = smooth[members, left_out].mean(axis=0).astype(np.float64)
            if self._trees:
                said = self._blend(said, self._ask(self._trees[index], kept[left_out]))
            logits[left_out] = said + jumps[members, left_out].mean(axis=0)
        return logits

    def _ask(self, tree: HistGradientBoostingClassifier, kept: NDArray[np.float32]) -> NDArray[np.float64]:
        return to_logit(tree.predict_proba(kept)[:, 1], self._config.label_noise)

    def _blend(self, networks: NDArray[np.float64], trees: NDArray[np.float64]) -> NDArray[np.float64]:
        blended: NDArray[np.float64] = (1 - self._config.tree_weight) * networks + self._config.tree_weight * trees
        return blended


def _find_columns(preprocessor: Preprocessor) -> _Columns:
    sources = np.concatenate([preprocessor.value_source, preprocessor.equal_source, preprocessor.missing_source])
    features = sorted(set(sources.tolist()))
    values = len(preprocessor.value_source)
    scaled = (preprocessor.scale[:values] != 1) | (preprocessor.center[:values] != 0)
    return _Columns([np.flatnonzero(sources == feature) for feature in features], features, np.flatnonzero(scaled))


def _split_folds(labels: NDArray[np.float32], config: Config, seed: int) -> list[Fold]:
    rarest = int(min(labels.sum(), (1 - labels).sum()))
    count = min(config.folds, rarest)
    if count == 1:
        everyone = np.arange(len(labels))
        return [(everyone, everyone)]
    return list(fold(labels, count, seed))


def _teach_bag(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    kept: NDArray[np.int64],
    noisy: NDArray[np.bool_],
    folds: list[Fold],
    tails: list[list[Tail]],
    config: Config,
    seed: int,
) -> tuple[Bag, dict[str, list[float]]]:
    """Teach the members: as many on each fold as the configuration repeats."""
    stairs = np.zeros((len(folds) * config.repeats, len(labels), max(map(len, tails))), dtype=np.float32)
    for index, found in enumerate(tails):
        stairs[index * config.repeats : (index + 1) * config.repeats, :, : len(found)] = mark_tails(matrix, found)
    rows = [taught for taught, _ in folds for _ in range(config.repeats)]
    bag = Bag(Task(matrix[:, kept], labels, stairs, rows, noisy.astype(np.float32)), config, seed)
    return bag, bag.teach()


def _teach_trees(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    kept: NDArray[np.int64],
    folds: list[Fold],
    tails: list[list[Tail]],
    config: Config,
) -> list[HistGradientBoostingClassifier]:
    """Teach trees on each fold, without the customers in its tails, whom the tails' weights speak for."""
    if not config.tree_weight:
        return []
    trees = []
    for index, ((taught, _), found) in enumerate(zip(folds, tails, strict=True)):
        inside = (mark_tails(matrix[taught], found) <= 0.5).all(axis=1)
        rows = np.random.default_rng([index, len(labels)]).permutation(taught[inside])
        rows = rows[: int(TREE_SHARE * len(rows))]
        trees.append(make_teacher(index).fit(matrix[np.ix_(rows, kept)], labels[rows]))
    return trees


def _start_from(smooth: keras.Model, earlier: keras.Model, kept: NDArray[np.int64]) -> None:
    """Give the student the weights of an earlier one, as far as its layers have the same shape."""
    for layer in smooth.layers[1:]:
        before = {weight.name: weight.numpy() for weight in earlier.get_layer(layer.name).weights}
        if layer.name == "hidden_0":
            before["kernel"] = before["kernel"][kept]
        if all(before[weight.name].shape == tuple(weight.shape) for weight in layer.weights):
            layer.set_weights([before[weight.name] for weight in layer.weights])


def _pool_cuts(tails: list[list[Tail]], weights: NDArray[np.floating[Any]]) -> list[tuple[int, int, float, float]]:
    """Average all members' staircases of each end into at most `MAX_CUTS` steps.

    Returns
    -------
    list of (column, sign, cut, weight)
        What passing the cut adds to the logit.
    """
    repeats = len(weights) // len(tails)
    steps: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for index, found in enumerate(tails):
        for position, tail in enumerate(found):
            share = weights[index * repeats : (index + 1) * repeats, position].sum() / len(weights) / len(tail.cuts)
            steps.setdefault((tail.column, tail.sign), []).extend((cut, float(share)) for cut in tail.cuts)
    return [
        (column, sign, float(np.median(part[:, 0])), float(part[:, 1].sum()))
        for (column, sign), pairs in steps.items()
        for part in np.array_split(np.array(sorted(pairs)), min(MAX_CUTS, len(pairs)))
    ]


def assemble(
    smooth: keras.Model,
    kept: NDArray[np.int64],
    cuts: list[tuple[int, int, float, float]],
    width: int,
    config: Config,
) -> keras.Model:
    """Put the shipped network together: the student on all columns, the tails, and the noise floor.

    A column that was not kept has weights of 0, so that the network takes the preprocessor's matrix as it is.
    """
    inputs = keras.Input((width,), name="customer")
    whole = distill.build_smooth(width, config.student)
    for layer in whole.layers[1:]:
        weights = smooth.get_layer(layer.name).get_weights()
        if layer.name == "hidden_0":
            kernel = np.zeros((width, weights[0].shape[1]), dtype=np.float32)
            kernel[kept] = weights[0]
            weights[0] = kernel
        layer.set_weights(weights)
    hidden = inputs
    for layer in whole.layers[1:]:
        hidden = layer(hidden)
    if cuts:
        columns, signs, places, steps = zip(*cuts, strict=True)
        beyond = TailIndicators(columns, signs, places, name="tails")(inputs)
        jump = keras.layers.Dense(1, use_bias=False, name="jumps")
        hidden = keras.layers.Add(name="logit")([hidden, jump(beyond)])
        jump.set_weights([np.array(steps, dtype=np.float32)[:, None]])
    probability = keras.layers.Activation("sigmoid", name="sigmoid")(hidden)
    floor = config.label_noise
    return keras.Model(inputs, keras.layers.Rescaling(1 - 2 * floor, floor, name="probability")(probability))


def _describe(
    preprocessor: Preprocessor,
    columns: _Columns,
    weights: NDArray[np.float64],
    config: Config,
    tails: list[Tail],
) -> tuple[str, ...]:
    """Say in sentences which features the network does not listen to, and which tails it jumps at."""
    names = [preprocessor.names[group[0]].split(" is ")[0] for group in columns.groups]
    least = min(config.keep_columns, np.sort(weights)[-2:][0])
    ignored = [name for name, weight in zip(names, weights, strict=True) if weight < least]
    notes = []
    if ignored:
        notes.append(f"The network does not listen to {', '.join(ignored)}: shuffling them costs it nothing.")
    for tail in tails:
        scaled = float(np.median(tail.cuts))
        cut = scaled * preprocessor.scale[tail.column] + preprocessor.center[tail.column]
        side = "below" if tail.sign > 0 else "above"
        notes.append(
            f"Customers with {preprocessor.names[tail.column]} {side} about {cut:.4g} are a group of their own."
        )
    return tuple(notes)
