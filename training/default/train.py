"""Fits the default network: trees, columns, linear model, networks, stack; and puts it together as one Keras model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from churn.logistic import expit
from training.context import Result, TrainingContext
from training.default import trees
from training.default.assemble import LINEAR, TAILS, TREES, Families, assemble
from training.default.bins import limit_bins
from training.default.budget import STUDENT, Replacement, fit_to_budget
from training.default.columns import keep_features
from training.default.folds import losses_of, mean_and_error
from training.default.members import (
    KINDS,
    STANDARD,
    encode,
    fit_linear_family,
    fit_network_families,
    fit_standard_family,
)
from training.default.stack import Stack, fit_stack
from training.default.tails import fit_tails
from training.default.views import Views

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    from numpy.typing import NDArray

    from training.default.config import Config
    from training.default.folds import Fold
    from training.default.oblivious import ObliviousTrees

OVERSPENT = 1.5
"""Trees that cost so many times what they may are fitted again with a higher learning rate."""
REFITS = 2


@dataclass(frozen=True, slots=True)
class Fitted:
    """All families and their stack.

    Attributes
    ----------
    families : Families
    members : list of Families
        Of each fold alone: the rows it holds out are new to all of them.
    logits : dict of str to ndarray of float64, shape (n,)
        Of each family, out of fold.
    stack : Stack
    out_of_fold : dict of str to float
        Mean log loss of each family, of the stack, of the share of leavers and of a plain logistic regression.
    choice : TreeChoice
    history : dict of str to list of float
    notes, warnings : tuple of str
    """

    families: Families
    members: list[Families]
    logits: dict[str, NDArray[np.float64]]
    stack: Stack
    out_of_fold: dict[str, float]
    choice: trees.TreeChoice
    history: dict[str, list[float]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def train(context: TrainingContext) -> Result:
    """Fit the default network, cross-validated over all rows of the context."""
    # Threads that wait for each other spin: on a busy machine that takes ten times as long as one alone.
    with threadpool_limits(1):
        fitted = fit(context)
        model = assemble(fitted.families, fitted.stack.weights, fitted.stack.bias, context.matrix.shape[1])
        replacement = _replace(model, fitted, context) if context.config.budget else None
    details = describe(fitted, context)
    if replacement is None:
        probabilities = expit(fitted.stack.logits)
        members = _assemble_members(fitted, context)
        return Result(model, fitted.history, probabilities, members, fitted.notes, fitted.warnings, details)
    details[STUDENT] = replacement.details
    details["out_of_fold"] = details["out_of_fold"] | {STUDENT: replacement.details["log_loss"]}
    warnings = (replacement.warning, _doubt(details["out_of_fold"], STUDENT))
    return Result(
        replacement.model,
        fitted.history,
        expit(replacement.logits),
        replacement.members,
        (*fitted.notes, *filter(None, [replacement.note])),
        tuple(filter(None, warnings)),
        details,
    )


def _assemble_members(fitted: Fitted, context: TrainingContext) -> tuple[keras.Model, ...]:
    """Return the stack of each fold's members alone; none if the stack is the same for all customers."""
    if not any(fitted.stack.weights.values()):
        return ()
    width = context.matrix.shape[1]
    return tuple(assemble(one, fitted.stack.weights, fitted.stack.bias, width) for one in fitted.members)


def _replace(model: keras.Model, fitted: Fitted, context: TrainingContext) -> Replacement | None:
    views = Views(context.matrix, context.preprocessor, context.inner)
    kept, members = fitted.choice.kept, fitted.members
    return fit_to_budget(model, fitted.families, members, fitted.stack, views, kept, context)


def fit(context: TrainingContext) -> Fitted:
    """Fit all families on the same folds, and their stack on the rows held out."""
    config, labels, folds, seed = context.config, context.labels, context.folds, context.seed
    views = Views(context.matrix, context.preprocessor, context.inner)
    earlier = context.earlier.choice if context.earlier else {}
    bag, weighed = fit_trees(views, labels, folds, _narrow(config, earlier), seed, _read_left_out(context, earlier))
    kept = bag.choice.kept
    strict = kept & keep_features(weighed.importances, config.strict_importance)
    most = limit_bins(int(np.isin(views.quantities, views.columns_kept(kept)).sum()), config.bins)
    encoded = [encode(views, folds, kept, most)]
    linear = fit_linear_family(encoded[0], labels, folds)
    if config.networks and (strict != kept).any() and weighed.suffices(strict):
        encoded.append(encode(views, folds, strict, most))
    networks = fit_network_families(encoded, labels, folds, config, seed)
    if config.networks > KINDS.index(STANDARD):
        choices = _list_choices(kept, weighed, config)
        networks.append(fit_standard_family(views, choices, labels, folds, config, seed))
    logits = {TREES: bag.logits, LINEAR: linear.logits} | {family.kind: family.bag.logits for family in networks}
    stack = fit_stack(logits, labels)
    tails = fit_tails(views.matrix, labels, stack.logits, views.quantities, folds, seed)
    if len(tails.trees):
        logits[TAILS] = tails.logits
        stack = fit_stack(logits, labels)
    plain = _fit_plain_logistic(views, labels, folds)
    share = np.full(len(labels), np.log(labels.mean() / (1 - labels.mean())))
    predicted = logits | {"stack": stack.logits, "logistic regression": plain, "share of leavers": share}
    losses = {name: losses_of(labels, one) for name, one in predicted.items()}
    return Fitted(
        families=Families(bag.trees, tails.trees, encoded[0].bins, linear, networks),
        members=[
            Families(
                bag.members[fold],
                tails.members[fold],
                encoded[0].bins,
                linear.of_fold(fold),
                [family.of_fold(fold) for family in networks],
            )
            for fold in range(len(folds))
        ],
        logits=logits,
        stack=stack,
        out_of_fold={name: float(values.mean()) for name, values in losses.items()},
        choice=bag.choice,
        history={f"val_loss_{number}": family.bag.losses for number, family in enumerate(networks)} | {"loss": []},
        notes=_note(context, kept, tails.trees if stack.weights.get(TAILS) else None),
        warnings=_warn(labels, stack, losses),
    )


def _list_choices(kept: NDArray[np.bool_], weighed: trees.Weighed, config: Config) -> list[NDArray[np.bool_]]:
    """Return the sets of features that networks on standard scores are tried with, each once."""
    choices = [kept]
    for least in config.network_importances:
        found = kept & keep_features(weighed.importances, least)
        if weighed.suffices(found) and not any((found == known).all() for known in choices):
            choices.append(found)
    return choices


def fit_trees(
    views: Views,
    labels: NDArray[np.float32],
    folds: list[Fold],
    config: Config,
    seed: int,
    offered: NDArray[np.bool_] | None = None,
) -> tuple[trees.TreeBag, trees.Weighed]:
    """Choose on a sample, if rows are many, and fit on all rows with the learning rate that the budget allows.

    If nothing is to be chosen, the trees are fitted once, unless they exceed the budget.

    Parameters
    ----------
    views, labels, folds, config, seed
    offered : ndarray of bool, shape (features,), or None
        Features that may be chosen from; None: all.
    """
    borders = trees.BORDERS
    if config.is_searched:
        rows = np.arange(len(labels))
        if len(rows) > config.search_rows:
            rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[: config.search_rows])
        inside = [tuple(np.flatnonzero(np.isin(rows, part)) for part in fold) for fold in folds]
        searched = views if len(rows) == len(labels) else views.take(rows)
        bag, weighed = trees.choose(searched, labels[rows], inside, config, seed, offered)  # type: ignore[arg-type]
        choice = trees.spend_budget(bag.choice, bag.trees.comparisons, config)
    else:
        choice, weighed = trees.take_all(views, config, offered)
        borders = trees.QUICK_BORDERS
    for _ in range(REFITS):
        bag = trees.fit_bag(views, labels, folds, choice, config, seed, borders=borders)
        if bag.trees.comparisons <= OVERSPENT * config.tree_comparisons or choice.rate >= trees.MOST_RATE:
            break
        choice = trees.spend_budget(choice, bag.trees.comparisons, config)
    return bag, weighed


def _narrow(config: Config, earlier: Mapping[str, Any]) -> Config:
    """Return the configuration that takes over what an earlier version chose."""
    return replace(config, tree_depths=(int(earlier["depth"]),), importance_steps=()) if earlier else config


def _read_left_out(context: TrainingContext, earlier: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    if not earlier:
        return None
    sources = np.unique(context.preprocessor.sources)
    return np.array([context.feature_names[source] not in earlier["features_left_out"] for source in sources])


def _fit_plain_logistic(views: Views, labels: NDArray[np.float32], folds: list[Fold]) -> NDArray[np.float64]:
    """Return logits out of fold of the model that is to be beaten at least."""
    logits = np.zeros(len(labels))
    every = np.ones(len(views.groups), dtype=bool)
    for fold, (rows, held_out) in enumerate(folds):
        columns = views.columns_of(every, fold)
        model = LogisticRegression(max_iter=500, tol=1e-3).fit(views.fitted(fold, rows)[:, columns], labels[rows])
        logits[held_out] = model.decision_function(views.held_out(held_out)[:, columns])
    return logits


def _warn(labels: NDArray[np.float32], stack: Stack, losses: Mapping[str, NDArray[np.float64]]) -> tuple[str, ...]:
    if not any(stack.weights.values()):
        gain, error = mean_and_error(losses["share of leavers"] - losses[TREES])
        why = f"out of fold, boosted trees gain {gain:+.4f} ± {error:.4f} nats"
        share = f"{labels.mean():.1%}"
        return (f"No column helps to predict who leaves ({why}): every customer gets the share of leavers, {share}.",)
    doubt = _doubt({name: float(values.mean()) for name, values in losses.items()}, "stack")
    return (doubt,) if doubt else ()


def _doubt(means: Mapping[str, float], published: str) -> str:
    """Return a warning if a logistic regression has a lower loss out of fold than what is published."""
    if means["logistic regression"] >= means[published]:
        return ""
    found = f"its log loss is {means['logistic regression']:.4f}, the network's {means[published]:.4f}"
    return f"A logistic regression is better out of fold: {found}."


def _note(context: TrainingContext, kept: NDArray[np.bool_], tails: ObliviousTrees | None) -> tuple[str, ...]:
    """Return sentences on the features that are not used, or only by the tails."""
    sources = np.unique(context.preprocessor.sources)
    in_tails = np.isin(sources, [] if tails is None else context.preprocessor.sources[tails.columns[0]])
    names = {
        which: [context.feature_names[source] for source in sources[chosen]]
        for which, chosen in (("unused", ~kept & ~in_tails), ("tails", ~kept & in_tails))
    }
    notes = []
    if names["unused"]:
        words = f"{', '.join(names['unused'])} ({len(names['unused'])} of {len(kept)} features)"
        notes.append(f"Not used, because the loss out of fold is lower without: {words}.")
    if names["tails"]:
        words = ", ".join(names["tails"])
        notes.append(f"Used only at their lowest or highest values, where the rate of leavers differs: {words}.")
    return tuple(notes)


def describe(fitted: Fitted, context: TrainingContext) -> dict[str, Any]:
    """Return what the manifest keeps of the fit."""
    sources, used = np.unique(context.preprocessor.sources), fitted.choice.kept
    return {
        "choice": {
            "depth": fitted.choice.depth,
            "learning_rate": fitted.choice.rate,
            "features_left_out": [context.feature_names[source] for source in sources[~used]],
        },
        "stack": {name: round(weight, 4) for name, weight in fitted.stack.weights.items()},
        "out_of_fold": fitted.out_of_fold,
        "trees": len(fitted.families.trees) if fitted.stack.weights[TREES] else 0,
    }
