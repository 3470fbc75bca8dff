"""Begin to score a table. Importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.reasons.strongest import ReasonWriter
from service.errors import Problem
from service.tables.job import TableJob
from service.tables.limits import TableLimits
from service.tables.reasons import RowWriter, TableReasons
from service.tables.split import JobCanary, can_read

if TYPE_CHECKING:
    from churn.reasons.strongest import Wanted
    from service.media_types import TableFormat
    from service.settings import Settings
    from service.tables.model import TableModel


def open_job(
    model: TableModel,
    form: TableFormat,
    settings: Settings,
    decimal: str | None,
    wanted: Wanted | None,
    *,
    rejects: bool,
    keeps_rows: bool,
) -> TableJob:
    """Return the job that scores a table.

    Parameters
    ----------
    model : TableModel
    form, decimal, rejects, keeps_rows
        See `TableJob`.
    settings : Settings
        Have the limits.
    wanted : int, "all" or None
        Number of reasons for each row; None for none.

    Raises
    ------
    RequestProblem
        409 if there are to be reasons and the model can't be explained.
    """
    schema, canary, reasons, other = model.scorer.schema, None, None, None
    if model.canary is not None:
        other = model.canary.model
        canary = JobCanary(other.scorer, model.canary.share, can_read(schema, other.scorer.schema))
    if wanted is not None:
        served = _open_writer(model, wanted)
        theirs = None
        if other is not None and canary is not None and canary.can_score:
            try:
                theirs = _open_writer(other, wanted)
            except Problem:  # that the canary can't be explained is no reason for an error
                canary = canary._replace(can_score=False)
        reasons = TableReasons(served, settings.max_reasoned, theirs)
    return TableJob(
        *(model.scorer, form),
        rejects=rejects,
        limits=TableLimits.of(settings),
        decimal=decimal,
        reasons=reasons,
        keeps_rows=keeps_rows,
        canary=canary,
    )


def _open_writer(model: TableModel, wanted: Wanted) -> RowWriter:
    schema = model.scorer.schema
    return RowWriter(ReasonWriter(model.explainer.open(), schema, wanted), schema)
