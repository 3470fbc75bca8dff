"""The teachers: a cross-validated bag of networks and trees, calibrated to speak as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.default.bag import Bag, Task
from training.default.calibrate import fit_scaling, to_logit, to_probability
from training.default.selection import choose_columns
from training.default.tails import mark_tails
from training.default.trees import make_teacher

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import HistGradientBoostingClassifier

    from training.default.config import Config
    from training.default.survey import Fold, Survey
    from training.default.tails import Tail

TREE_SHARE = 0.9
"""Share of a fold's rows that its trees are taught on."""


class Teachers:
    """The bag and the trees, taught and calibrated.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    labels : ndarray of float32, shape (n,)
    found : Survey
        Of these rows.
    config : Config
    seed : int
    show : bool
        Whether progress is shown.

    Attributes
    ----------
    kept : ndarray of int64
        Columns the teachers look at.
    history : dict of str to list of float
        Per epoch, in nats: ``loss`` and ``val_loss`` of the bag.
    slope, offset : float
        Calibration: slope · logit + offset is what the teachers say.
    out_of_fold : ndarray of float64, shape (n,)
        Each row's calibrated probability by those who were not taught on it.
    """

    def __init__(
        self,
        matrix: NDArray[np.float32],
        labels: NDArray[np.float32],
        found: Survey,
        config: Config,
        seed: int,
        *,
        show: bool = True,
    ) -> None:
        self._found = found
        self._config = config
        self.kept = choose_columns(found.groups, found.weights, config)
        noisy = np.isin(self.kept, found.quantities)
        self._bag = _make_bag(matrix, labels, self.kept, noisy, found.folds, found.tails, config, seed)
        self.history = self._bag.teach(show=show)
        self._trees = _teach_trees(matrix, labels, self.kept, found.folds, found.tails, config)
        logits = self._say_out_of_fold(matrix[:, self.kept])
        self.slope, self.offset = fit_scaling(logits, labels, config.label_noise)
        self.out_of_fold = to_probability(self.slope * logits + self.offset, config.label_noise)

    @property
    def jumps(self) -> NDArray[np.floating[Any]]:
        """What being in a tail adds to the calibrated logit, shape (members, tails)."""
        weights: NDArray[np.floating[Any]] = self.slope * self._bag.tail_weights
        return weights

    def say(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the calibrated logits without tails, shape (n,), for a matrix of all columns."""
        kept = matrix[:, self.kept]
        logits: NDArray[np.float64] = self._bag.smooth_logits(kept).mean(axis=0).astype(np.float64)
        if self._trees:
            logits = self._blend(logits, np.mean(np.stack([self._ask(tree, kept) for tree in self._trees]), axis=0))
        return self.slope * logits + self.offset

    def judge(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities, tails included, shape (n,), of customers nobody was taught on."""
        logits, repeats = self.say(matrix), self._config.repeats
        for index, tails in enumerate(self._found.tails):
            own = self.jumps[index * repeats : (index + 1) * repeats, : len(tails)].sum(axis=0) / len(self.jumps)
            logits += mark_tails(matrix, tails) @ own
        return to_probability(logits, self._config.label_noise)

    def _say_out_of_fold(self, kept: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits, tails included, of each row by those that were not taught on it, shape (n,)."""
        smooth, jumps = self._bag.smooth_logits(kept), self._bag.tail_logits()
        repeats = self._config.repeats
        logits = np.zeros(len(kept))
        for index, (_, left_out) in enumerate(self._found.folds):
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


def _make_bag(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    kept: NDArray[np.int64],
    noisy: NDArray[np.bool_],
    folds: list[Fold],
    tails: list[list[Tail]],
    config: Config,
    seed: int,
) -> Bag:
    """Make the members: as many on each fold as the configuration repeats."""
    stairs = np.zeros((len(folds) * config.repeats, len(labels), max(map(len, tails))), dtype=np.float32)
    for index, found in enumerate(tails):
        stairs[index * config.repeats : (index + 1) * config.repeats, :, : len(found)] = mark_tails(matrix, found)
    rows = [taught for taught, _ in folds for _ in range(config.repeats)]
    return Bag(Task(matrix[:, kept], labels, stairs, rows, noisy.astype(np.float32)), config, seed)


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
