"""Fits the default network on a sample: encoders, trees, columns, stack. All rows then train its dense layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from training.context import TrainingContext
from training.default.assemble import assemble
from training.default.folds import split_folds
from training.default.members import KINDS
from training.default.train import describe, fit
from training.level_statistics import FoldedLabels
from training.networks import NETWORKS
from training.preprocess import fit_with_statistics
from training.warm_start import load_earlier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import keras
    from sklearn.pipeline import Pipeline

    from churn.preprocessing import Preprocessor
    from training.default.config import Config
    from training.streaming.settings import Streaming
    from training.streaming.spread import StreamedTable

DOUBT = 2.0
"""Standard errors by which the sample must speak against a feature to leave it out."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the streamed training starts from.

    Attributes
    ----------
    transformer, preprocessor : Pipeline, Preprocessor
        Fitted on the sample, in both forms.
    model : keras.Model
        The network fitted on the sample.
    notes : tuple of str
        What a person should know of this network, a sentence each.
    warnings : tuple of str
    details : mapping
        Of the fit on the sample, as the manifest keeps them.
    """

    transformer: Pipeline
    preprocessor: Preprocessor
    model: keras.Model
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    details: Mapping[str, Any]


def fit_on_sample(table: StreamedTable, config: Config, streaming: Streaming, seed: int, earlier: Path | None) -> Start:
    """Fit the default network on a sample of the training part.

    Raises
    ------
    BundleError
        If the bundle to start from is damaged or has another schema.
    """
    rows = table.rows["train"][: streaming.sample_rows]
    raw, labels = table.sample.raw[rows], table.sample.labels[rows].astype(np.float32)
    schema, share = table.sample.schema, len(rows) / table.counts["train"]
    folds = split_folds(labels, config.folds, seed)
    told = FoldedLabels(labels, folds, seed)
    transformer, preprocessor, inner = fit_with_statistics(schema, raw, NETWORKS["default"].encoding, told)
    start = None if earlier is None else load_earlier(earlier, schema, "default")
    wider = replace(
        config,
        importance_steps=tuple(least_importance(step, share) for step in config.importance_steps),
        strict_importance=least_importance(config.strict_importance, share),
        networks=max(1, config.networks),
    )
    context = TrainingContext(
        preprocessor.transform(raw), labels, preprocessor, wider, seed, start, folds, inner, schema.names
    )
    # As for the default network in memory.
    with threadpool_limits(1):
        fitted = fit(context)
        # The network has layers that can go on learning, whatever the sample's stack thinks of them.
        model = assemble(fitted.families, fitted.stack.weights, fitted.stack.bias, preprocessor.width, keep=KINDS[0])
    return Start(transformer, preprocessor, model, fitted.notes, fitted.warnings, describe(fitted, context))


def least_importance(wanted: float, share: float) -> float:
    """Return the importance on a sample from which on a feature may have the wanted one on all rows.

    In standard errors, an importance z on a share of the rows becomes z / √share on all, give or take the root of
    1 / share - 1; a feature is kept if the wanted one is less than `DOUBT` times that above.
    """
    return wanted * math.sqrt(share) - DOUBT * math.sqrt(1 - share)
