"""The streamed training job: sample, records, network, metrics, bundle."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from churn.registry import Registry
from training.job import Options, Outcome, describe, publish
from training.streaming.count import count
from training.streaming.fit import fit_streamed
from training.streaming.records import write_records
from training.streaming.sample import fit_on_sample
from training.trained import FittedModel, Trained

if TYPE_CHECKING:
    from pathlib import Path

    from training.context import Result
    from training.streaming.settings import Streaming
    from training.streaming.spread import StreamedTable


def train(table: StreamedTable, models: Path, options: Options, streaming: Streaming, command: str = "") -> Outcome:
    """Train the default network on a streamed table and publish it as the next version, completely or not at all.

    Parameters
    ----------
    table : StreamedTable
    models : Path
        Folder of the model versions.
    options : Options
        `network` must be the default one; the test set is that of the table.
    streaming : Streaming
    command : str
        Command line, for the model card.

    Raises
    ------
    BundleError
        If the two formats of the network differ, or the version to start from has another schema.
    RegistryError
        If the version to start from does not exist.
    """
    registry = Registry(models)
    earlier = None if options.warm_start is None else registry.folder(options.warm_start)
    fitted = fit(table, options, streaming, earlier)
    trained = Trained(
        dataset=table.sample,
        settings=describe(options) | {"streaming": streaming.to_dict()},
        rows=table.rows,
        fitted=fitted,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        costs=options.costs,
        whole=count(table, fitted, options.threshold),
    )
    return publish(trained, registry, options)


def fit(table: StreamedTable, options: Options, streaming: Streaming, earlier: Path | None = None) -> FittedModel:
    """Train on a sample, then on all training rows.

    Raises
    ------
    BundleError
        If the bundle to start from is damaged or has another schema.
    """
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    start = fit_on_sample(table, options.config, streaming, options.seed, earlier)
    every = np.arange(start.preprocessor.width)
    records = write_records(table.shards, start.preprocessor, every, table.counts["train"])
    rows = table.rows["validation"]
    matrix, labels = start.preprocessor.transform(table.sample.raw[rows]), table.sample.labels[rows]
    result = fit_streamed(start, records, matrix, labels.astype(np.float32), streaming, options.seed)
    return FittedModel(start.transformer, start.preprocessor, with_notes(result, start.notes))


def with_notes(result: Result, notes: tuple[str, ...]) -> Result:
    """Return a result with additional notes in front."""
    return replace(result, notes=(*notes, *result.notes))
