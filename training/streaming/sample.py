"""Teaches on a sample what needs whole arrays: the preprocessor, tails, columns, teachers, and the student's start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from training.default.selection import choose_columns
from training.default.survey import survey
from training.default.teach import Parts, describe, teach_parts
from training.default.teachers import Teachers
from training.lesson import Lesson
from training.networks import NETWORKS
from training.preprocess import fit_preprocessor
from training.warm_start import load_earlier

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from churn.preprocessing import Preprocessor
    from training.default.config import Config
    from training.streaming.settings import Streaming
    from training.streaming.spread import StreamedTable

FOLDS, REPEATS = 5, 1
"""Members of the bag at most: the student goes on learning from all rows, so a larger one would be paid for twice."""


DOUBT = 2.0
"""Standard errors by which the sample must speak against a column to leave it out."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the streamed teaching starts from.

    Attributes
    ----------
    transformer, preprocessor : Pipeline, Preprocessor
        Fitted on the sample, in both forms.
    parts : Parts
        The student, taught what the teachers say of the sample.
    columns : ndarray of int64
        Of the matrix, those that are streamed: what the student looks at so far, what its tails jump at, and what so
        many rows may find something in.
    notes : tuple of str
        What a person should know of this network, a sentence each.
    """

    transformer: Pipeline
    preprocessor: Preprocessor
    parts: Parts
    columns: NDArray[np.int64]
    notes: tuple[str, ...]


def teach_on_sample(
    table: StreamedTable, config: Config, streaming: Streaming, seed: int, earlier: Path | None
) -> Start:
    """Walk the line of the default network on a sample of the training part, with a smaller bag.

    Raises
    ------
    BundleError
        If the bundle to start from is damaged or has another schema.
    """
    rows = table.rows["train"][: streaming.sample_rows]
    raw, labels = table.sample.raw[rows], table.sample.labels[rows].astype(np.float32)
    config = replace(config, folds=min(config.folds, FOLDS), repeats=min(config.repeats, REPEATS))
    model = None
    if earlier is None:
        transformer, preprocessor = fit_preprocessor(table.sample.schema, raw, NETWORKS["default"].encoding)
    else:
        transformer, preprocessor, model = load_earlier(earlier, table.sample.schema, "default")
    lesson = Lesson(preprocessor.transform(raw), labels, preprocessor, config, seed, model)
    # As for the default network in memory.
    with threadpool_limits(1, user_api="openmp"):
        found = survey(lesson.matrix, labels, preprocessor, config, seed)
        teachers = Teachers(lesson.matrix, labels, found, config, seed)
        parts = teach_parts(lesson, found, teachers)
    wider = replace(config, keep_columns=least_importance(config.keep_columns, len(rows) / table.counts["train"]))
    tails = np.array([cut[0] for cut in parts.cuts], dtype=np.int64)
    columns = np.union1d(choose_columns(found.groups, found.weights, wider), np.union1d(parts.kept, tails))
    return Start(transformer, preprocessor, parts, columns, describe(preprocessor, found, wider))


def least_importance(wanted: float, share: float) -> float:
    """Return the importance on a sample from which on a column may have the wanted one on all rows.

    In standard errors, an importance z on a share of the rows becomes z / √share on all, give or take the root of
    1 / share - 1; a column is kept if the wanted one is less than `DOUBT` times that above.
    """
    return wanted * math.sqrt(share) - DOUBT * math.sqrt(1 - share)
