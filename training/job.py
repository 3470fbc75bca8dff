"""The training job, from left to right: table, split, preprocessor, network, scores, bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn.registry import Registry
from training.fit import fit_network, make_reproducible
from training.networks import RECIPES
from training.preprocess import fit_preprocessor
from training.publication import Taught, Trained, write_bundle
from training.report.data import Costs
from training.split import split_rows
from training.warm_start import load_earlier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import Dataset
    from training.evaluate import Scores


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose.

    Attributes
    ----------
    network : str
        A name in `training.networks.RECIPES`.
    seed : int
        Splits, initial weights and order of the rows follow from it.
    test_size, validation_size : float
        Share of all rows, and of the rest, held out.
    threshold : float
        A customer is said to leave if the probability is above it.
    warm_start : int or None
        A version whose preprocessor and weights are the start.
    promote : bool
        Whether the new version becomes the current one.
    costs : Costs
        For the report's profit curve.
    """

    network: str = "default"
    seed: int = 0
    test_size: float = 0.2
    validation_size: float = 0.2
    threshold: float = 0.5
    warm_start: int | None = None
    promote: bool = True
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A trained, published model.

    Attributes
    ----------
    version : int
    folder : Path
    trained : Trained
    engine_difference : float
        Largest difference of a probability between the two forms of the network.
    """

    version: int
    folder: Path
    trained: Trained
    engine_difference: float

    @property
    def scores(self) -> Mapping[str, Scores]:
        """Scores per part."""
        return self.trained.scores


def train(dataset: Dataset, models: Path, options: Options, command: str = "") -> Outcome:
    """Train a network on a dataset and publish it as the next version, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    models : Path
        The registry's folder.
    options : Options
    command : str
        How the job was called, for the model card.

    Raises
    ------
    BundleError
        If the two forms of the network do not agree, or the version to start from has another schema.
    RegistryError
        If the version to start from does not exist.
    """
    rows = choose_rows(dataset.labels, options)
    registry = Registry(models)
    earlier = None if options.warm_start is None else registry.folder(options.warm_start)
    trained = Trained(
        dataset=dataset,
        settings=describe(options),
        rows=rows,
        taught=teach(dataset, rows, options, earlier),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        costs=options.costs,
    )
    differences: list[float] = []
    version = registry.publish(
        lambda folder, version: differences.append(write_bundle(folder, version, trained)), promote=options.promote
    )
    return Outcome(version, registry.folder(version), trained, differences[0])


def teach(dataset: Dataset, rows: Mapping[str, NDArray[Any]], options: Options, earlier: Path | None = None) -> Taught:
    """Fit the preprocessor and teach the network: what `churn train` and the quality benchmark share.

    Parameters
    ----------
    dataset : Dataset
    rows : mapping of str to ndarray of int64
        Row numbers under ``"train"`` and, for a network that is stopped early, ``"validation"``.
    options : Options
    earlier : Path or None
        A bundle's folder whose preprocessor and weights are the start.

    Raises
    ------
    BundleError
        If the bundle to start from is damaged or has another schema.
    """
    recipe = RECIPES[options.network]
    make_reproducible(options.seed)
    if earlier is None:
        transformer, preprocessor = fit_preprocessor(dataset.schema, dataset.raw[rows["train"]], recipe.encoding)
        model = recipe.build(preprocessor.width)
    else:
        transformer, preprocessor, model = load_earlier(earlier, dataset.schema)
    parts = {name: (preprocessor.transform(dataset.raw[part]), dataset.labels[part]) for name, part in rows.items()}
    history = fit_network(model, recipe, parts["train"], parts.get("validation"))
    return Taught(transformer, preprocessor, model, history)


def choose_rows(labels: NDArray[Any], options: Options) -> dict[str, NDArray[Any]]:
    """Return the rows of each part there is; a network that is not stopped early needs no validation part."""
    recipe = RECIPES[options.network]
    split = split_rows(
        labels,
        test_size=options.test_size,
        validation_size=options.validation_size if recipe.patience else 0.0,
        seed=options.seed,
        stratify=recipe.stratify,
    )
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {name: rows for name, rows in parts.items() if len(rows)}


def describe(options: Options) -> dict[str, Any]:
    """Return the options that shaped the model, as the manifest keeps them."""
    return {
        "network": options.network,
        "seed": options.seed,
        "test_size": options.test_size,
        "validation_size": options.validation_size,
        "threshold": options.threshold,
        "warm_start": options.warm_start,
    }
