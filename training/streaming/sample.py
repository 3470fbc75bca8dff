"""Fit the default network on a sample; its dense layers are then trained on all rows."""

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
from training.default.presets import thin_stack
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
"""Standard errors by which the importance of a feature must be too low in the sample for dropping it."""


@dataclass(frozen=True, slots=True)
class SampleFit:
    """Initial state of streamed training.

    Attributes
    ----------
    transformer, preprocessor : Pipeline, Preprocessor
        Fitted on the sample, as a scikit-learn pipeline and as arrays.
    model : keras.Model
        The network fitted on the sample.
    notes : tuple of str
        Remarks on the network for the model card, one sentence each.
    warnings : tuple of str
    details : mapping
        Details of the fit for the manifest.
    """

    transformer: Pipeline
    preprocessor: Preprocessor
    model: keras.Model
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    details: Mapping[str, Any]


def fit_on_sample(
    table: StreamedTable, config: Config, streaming: Streaming, seed: int, earlier: Path | None
) -> SampleFit:
    """Fit the default network on a sample of the training set.

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
    # The dense layers of the stack are trained on all rows: it isn't replaced by a student.
    wider = replace(
        thin_stack(config),
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
        # Ensures that there are layers to train further, whatever their weight in the stack of the sample.
        model = assemble(fitted.families, fitted.stack.weights, fitted.stack.bias, preprocessor.width, keep=KINDS[0])
    return SampleFit(transformer, preprocessor, model, fitted.notes, fitted.warnings, describe(fitted, context))


def least_importance(wanted: float, share: float) -> float:
    """Return the minimum importance in a sample with which a feature may have the required importance on all rows.

    An importance of z standard errors on a share of the rows is expected to be z / √share on all rows, with a standard
    deviation of √(1 / share - 1). A feature is kept if the required importance is within `DOUBT` standard deviations.
    """
    return wanted * math.sqrt(share) - DOUBT * math.sqrt(1 - share)
