"""Cross-validated boosted trees: CatBoost on the preprocessor's matrix, so that the network can contain them.

Depth, features and learning rate are chosen on the rows held out. A higher learning rate gives fewer trees, which are
faster in serving; it is set so that the bag has about as many comparisons as the budget allows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from catboost import CatBoostClassifier

from training.default.columns import in_standard_errors, keep_features, permute_features
from training.default.folds import losses_of, mean_and_error
from training.default.oblivious import ObliviousTrees, average, no_trees, read_trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.config import Config
    from training.default.folds import Fold
    from training.default.views import Views

SEARCH_RATE = 0.1
"""Learning rate during the search for depth and features."""
LEAST_RATE, MOST_RATE = 0.03, 0.4
PATIENCE = 3.0
"""Number of trees without improvement after which boosting stops, times the learning rate."""
L2 = 5.0
CLEARLY = 2.0
"""Standard errors by which the loss out of fold must rise without some features for no smaller set to be tried."""
SEARCH_BORDERS, BORDERS = 64, 254
"""Maximum number of borders of a column. Fewer during the search, which then takes a third less time."""
QUICK_RATE, QUICK_BORDERS = 0.07, 128
"""Without a search: a third of the time of `LEAST_RATE` with all borders, for the same loss within the noise."""


@dataclass(frozen=True, slots=True)
class TreeChoice:
    """Hyperparameters and features chosen for the trees.

    Attributes
    ----------
    depth : int
    rate : float
        Learning rate.
    kept : ndarray of bool, shape (features,)
        Features they look at.
    """

    depth: int
    rate: float
    kept: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TreeBag:
    """Fitted trees of all folds.

    Attributes
    ----------
    choice : TreeChoice
    trees : ObliviousTrees
        The mean of the folds'.
    members : list of ObliviousTrees
        Of each fold.
    logits : ndarray of float64, shape (n,)
        Of each row by the fold that was not fitted on it.
    rises : ndarray of float64, shape (n, features)
        Of `permute_features`; 0 where it was not asked for.
    """

    choice: TreeChoice
    trees: ObliviousTrees
    members: list[ObliviousTrees]
    logits: NDArray[np.float64]
    rises: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weighed:
    """Importance of the features, as found by the search.

    Attributes
    ----------
    importances : ndarray of float64, shape (features,)
        In standard errors.
    too_few : list of ndarray of bool, shape (features,)
        Sets of features on which the trees are clearly worse.
    """

    importances: NDArray[np.float64]
    too_few: list[NDArray[np.bool_]]

    def suffices(self, kept: NDArray[np.bool_]) -> bool:
        """Return whether a set of features is not part of one on which the trees are clearly worse.

        Parameters
        ----------
        kept : ndarray of bool, shape (features,)
        """
        return not any((kept <= few).all() for few in self.too_few)


def fit_bag(
    views: Views,
    labels: NDArray[np.float32],
    folds: list[Fold],
    choice: TreeChoice,
    config: Config,
    seed: int,
    *,
    borders: int = BORDERS,
    weighing: bool = False,
) -> TreeBag:
    """Fit one boosted model per fold, stopped early on the rows held out.

    Parameters
    ----------
    views : Views
    labels : ndarray of float32, shape (n,)
        0 or 1.
    folds : list of Fold
    choice : TreeChoice
    config : Config
    seed : int
    borders : int
        Maximum number of borders of a column.
    weighing : bool
        Whether the features are weighed as well.
    """
    logits = np.zeros(len(labels))
    rises = np.zeros((len(labels), len(views.groups)))
    bag = []
    for number, (fitted, held_out) in enumerate(folds):
        columns = views.columns_of(choice.kept, number)
        inside, outside = views.fitted(number, fitted), views.held_out(held_out)
        columns = columns[np.ptp(inside[:, columns], axis=0) > 0]
        if len(columns) == 0:  # CatBoost refuses a table of constants
            bag.append(no_trees(float(labels[fitted].mean())))
            logits[held_out] = bag[-1].bias
            continue
        model = CatBoostClassifier(
            depth=choice.depth,
            learning_rate=choice.rate,
            l2_leaf_reg=L2,
            border_count=borders,
            iterations=max(10, round(config.tree_passes / choice.rate)),
            od_type="Iter",
            od_wait=max(5, round(PATIENCE / choice.rate)),
            random_seed=seed,
            thread_count=1,
            verbose=False,
            allow_writing_files=False,
        )
        model.fit(inside[:, columns], labels[fitted], eval_set=(outside[:, columns], labels[held_out]))
        bag.append(read_trees(model, columns))
        logits[held_out] = _ask(model, columns, outside)
        if weighing:
            ask, generator = functools.partial(_ask, model, columns), np.random.default_rng([seed, number])
            rises[held_out] = permute_features(ask, outside, labels[held_out], views.groups, generator)
    return TreeBag(choice, average(bag), bag, logits, rises)


def _ask(model: CatBoostClassifier, columns: NDArray[np.int64], matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(model.predict(matrix[:, columns], prediction_type="RawFormulaVal"), dtype=np.float64)


def choose(
    views: Views,
    labels: NDArray[np.float32],
    folds: list[Fold],
    config: Config,
    seed: int,
    offered: NDArray[np.bool_] | None = None,
) -> tuple[TreeBag, Weighed]:
    """Choose depth and columns out of fold.

    Depths are tried in their order until one has a higher loss than the one before. A feature is left out only where
    the trees without it have a lower loss by more than `config.doubt` standard errors.

    Parameters
    ----------
    views, labels, folds, config, seed
        See `fit_bag`.
    offered : ndarray of bool, shape (features,), optional
        Features to choose from. Defaults to all.

    Returns
    -------
    bag : TreeBag
        The best found, at `SEARCH_RATE`.
    weighed : Weighed
    """
    every = np.ones(len(views.groups), dtype=bool) if offered is None else offered
    bags: list[TreeBag] = []
    losses: list[float] = []
    for depth in config.tree_depths:
        choice = TreeChoice(depth, SEARCH_RATE, every)
        bags.append(fit_bag(views, labels, folds, choice, config, seed, borders=SEARCH_BORDERS, weighing=True))
        losses.append(float(losses_of(labels, bags[-1].logits).mean()))
        if losses[-1] > min(losses):
            break
    best = bags[int(np.argmin(losses))]
    weighed, tried = Weighed(in_standard_errors(best.rises), []), [every]
    for least in config.importance_steps:
        kept = keep_features(weighed.importances, least) & every
        if not weighed.suffices(kept) or any((kept == earlier).all() for earlier in tried):
            continue
        tried.append(kept)
        bag = fit_bag(views, labels, folds, replace(best.choice, kept=kept), config, seed, borders=SEARCH_BORDERS)
        gain, error = mean_and_error(losses_of(labels, best.logits) - losses_of(labels, bag.logits))
        if gain > config.doubt * error:
            best = bag
        elif gain < -CLEARLY * error:
            weighed.too_few.append(kept)
    return best, weighed


def take_all(views: Views, config: Config, offered: NDArray[np.bool_] | None = None) -> tuple[TreeChoice, Weighed]:
    """Return the first depth with all features, without a search, and importances of 0.

    Parameters
    ----------
    views, config
    offered : ndarray of bool, shape (features,), optional
        Features to take. Defaults to all.
    """
    every = np.ones(len(views.groups), dtype=bool) if offered is None else offered
    return TreeChoice(config.tree_depths[0], QUICK_RATE, every), Weighed(np.zeros(len(every)), [])


def spend_budget(choice: TreeChoice, comparisons: int, config: Config) -> TreeChoice:
    """Return the choice with the learning rate at which the bag takes about the comparisons allowed."""
    rate = choice.rate * comparisons / config.tree_comparisons
    return replace(choice, rate=float(np.clip(rate, LEAST_RATE, MOST_RATE)))
