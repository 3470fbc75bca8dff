"""The training job: table, split, preprocessor, network, metrics, bundle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from churn.registry import Registry
from training.best import fit_best
from training.context import TrainingContext
from training.default.config import Config
from training.default.folds import split_folds
from training.level_statistics import FoldedLabels
from training.networks import NETWORKS
from training.preprocess import fit_with_statistics, restore_transformer
from training.publication import write_bundle, write_signed_bundle
from training.report.data import Costs
from training.split import split_rows
from training.trained import FittedModel, Trained
from training.warm_start import load_earlier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from churn.trust.keys import SigningKey
    from training.dataset import Dataset
    from training.evaluate import Scores


TIMED_ROWS = 50
"""Rows scored one by one to measure what one takes."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a training.

    Attributes
    ----------
    network : str
        A name in `training.networks.NETWORKS`.
    seed : int
        Seed of the splits, the initial weights and the order of the rows.
    test_size : float
        Fraction of all rows held out; 0 for none.
    config : Config
        Hyperparameters of the default network.
    threshold : float
        A customer is predicted to leave above this probability.
    horizon : int or None
        Days after a row in which its customer counts as a leaver, if that is known: judgements use it.
    warm_start : int or None
        A version to start from: the reference network goes on with its preprocessor and weights, the default one
        takes its depth of trees and its features, and so need not search for them.
    promote : bool
        Whether the new version becomes the current one.
    costs : Costs
        Costs for the profit curve of the report.
    minutes : float or None
        Time for trying more configurations than the given one; None: it alone is fitted.
    sign_key : SigningKey or None
        Signs the new version.
    """

    network: str = "default"
    seed: int = 0
    test_size: float = 0.2
    config: Config = field(default_factory=Config)
    threshold: float = 0.5
    horizon: int | None = None
    warm_start: int | None = None
    promote: bool = True
    costs: Costs = field(default_factory=Costs)
    minutes: float | None = None
    sign_key: SigningKey | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A published model version.

    Attributes
    ----------
    version : int
    folder : Path
    trained : Trained
    engine_difference : float
        Maximum absolute difference of a probability between the two formats of the network.
    microseconds : float
        CPU time of a row alone in ONNX Runtime.
    promoted : bool
        Whether it is now the current version.
    """

    version: int
    folder: Path
    trained: Trained
    engine_difference: float
    microseconds: float
    promoted: bool

    @property
    def scores(self) -> Mapping[str, Scores]:
        """Metrics of each part."""
        return self.trained.scores


def train(
    dataset: Dataset, models: Path, options: Options, command: str = "", say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Train a network and publish it as the next version, completely or not at all.

    Parameters
    ----------
    dataset : Dataset
    models : Path
        Folder of the model versions.
    options : Options
    command : str
        Command line, for the model card.
    say : callable (str) -> None
        Takes a line of progress.

    Raises
    ------
    BundleError
        If the two formats of the network differ, or the version to start from has another schema.
    RegistryError
        If the version to start from does not exist.
    """
    rows = choose_rows(dataset.labels, options)
    registry = Registry(models)
    earlier = None if options.warm_start is None else registry.folder(options.warm_start)
    if options.minutes is None:
        fitted = fit(dataset, rows, options, earlier)
    else:
        fitted, config = fit_best(
            lambda config: fit(dataset, rows, replace(options, config=config)), options.config, options.minutes, say
        )
        options = replace(options, config=config)
    trained = Trained(
        dataset=dataset,
        settings=describe(options),
        rows=rows,
        fitted=fitted,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        costs=options.costs,
    )
    return publish(trained, registry, options)


def publish(trained: Trained, registry: Registry, options: Options) -> Outcome:
    """Publish a trained network as the next version, signed if there is a key, completely or not at all.

    Raises
    ------
    BundleError
        If the two formats of the network differ.
    """
    differences: list[float] = []

    def write(folder: Path, version: int) -> None:
        if options.sign_key is None:
            differences.append(write_bundle(folder, version, trained))
        else:
            differences.append(write_signed_bundle(folder, version, trained, options.sign_key))

    version = registry.publish(write, promote=options.promote)
    folder = registry.folder(version)
    raw = trained.dataset.raw[trained.rows["train"][:TIMED_ROWS]]
    microseconds = trained.fitted.time_row(raw)
    return Outcome(version, folder, trained, differences[0], microseconds, promoted=options.promote)


def fit(
    dataset: Dataset, rows: Mapping[str, NDArray[Any]], options: Options, earlier: Path | None = None
) -> FittedModel:
    """Fit the preprocessor and the network; shared by `churn train` and the quality benchmark.

    Parameters
    ----------
    dataset : Dataset
    rows : mapping of str to ndarray of int64, shape (rows,)
        Row numbers under ``"train"``; the default network uses them for cross-validation.
    options : Options
    earlier : Path or None
        A bundle's folder to start from.

    Raises
    ------
    BundleError
        If the bundle to start from is damaged or has another schema.
    """
    transformer, context = prepare(dataset, rows["train"], options, earlier)
    return FittedModel(transformer, context.preprocessor, NETWORKS[options.network].fit(context))


def prepare(
    dataset: Dataset, rows: NDArray[np.int64], options: Options, earlier: Path | None = None
) -> tuple[Pipeline, TrainingContext]:
    """Fit the preprocessor, and return it as a scikit-learn pipeline with what the network is trained on.

    Parameters
    ----------
    dataset : Dataset
    rows : ndarray of int64, shape (n,)
        Row numbers of the training set.
    options, earlier
        See `fit`.
    """
    network = NETWORKS[options.network]
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    raw, labels = dataset.raw[rows], dataset.labels[rows].astype(np.float32)
    folds = split_folds(labels, options.config.folds, options.seed) if network.folded else []
    start = None if earlier is None else load_earlier(earlier, dataset.schema, options.network)
    inner: Mapping[int, NDArray[np.float32]] = {}
    if start is None or network.folded:
        # What a cross-validated network is judged by must not have been seen, so its encoders are fitted anew.
        told = FoldedLabels(labels, folds, options.seed) if folds else None
        transformer, preprocessor, inner = fit_with_statistics(dataset.schema, raw, network.encoding, told)
    else:
        preprocessor = start.preprocessor
        transformer = restore_transformer(dataset.schema, raw, network.encoding, preprocessor)
    context = TrainingContext(
        preprocessor.transform(raw), labels, preprocessor, options.config, options.seed, start, folds, inner,
        dataset.schema.names,
    )  # fmt: skip
    return transformer, context


def choose_rows(labels: NDArray[Any], options: Options) -> dict[str, NDArray[Any]]:
    """Return the training rows and, unless none are held out, the test rows.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
    options : Options
    """
    split = split_rows(
        labels,
        test_size=options.test_size,
        validation_size=0.0,
        seed=options.seed,
        stratify=NETWORKS[options.network].stratify,
    )
    return {"train": split.train} | ({"test": split.test} if len(split.test) else {})


def describe(options: Options) -> dict[str, Any]:
    """Return the options of the training for the manifest."""
    settings = {
        "network": options.network,
        "seed": options.seed,
        "test_size": options.test_size,
        "threshold": options.threshold,
        "warm_start": options.warm_start,
    }
    if options.horizon is not None:
        settings["horizon_days"] = options.horizon
    return settings | ({"config": options.config.to_dict()} if options.network == "default" else {})
