"""Score the rows of a query into a table in transactions; resumable after a kill without losing or repeating rows.

Rows are read in the order of a key. Each transaction writes the scores of some rows, their rejects and, in
`ProgressTable`, the key of the last row; it never ends between two rows with the same key. The last transaction
counts the rows written and renames the tables to their final names.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from batch.chunk import open_reasons, score_rows
from batch.job_options import JobOptions
from batch.read_ahead import read_ahead
from batch.sql.hashing import JobHashes
from batch.sql.query import Position, Query
from batch.sql.read import SLOW_PAGE_ROWS, look_ahead, read_by_copy, read_by_cursor
from batch.sql.tables import Tables
from batch.summary import summarize
from churn.database import Database, open_database
from churn.drift import Drift
from churn.errors import TableError
from churn.reasons.columns import list_columns
from churn.tables.rows import Rows
from churn.tables.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from batch.sql.progress import Progress
    from batch.sql.read import Page
    from batch.sql.write import IfExists
    from churn.reasons.strongest import ReasonWriter
    from churn.scorer import Scorer


@dataclass(frozen=True, slots=True)
class SqlJob(JobOptions):
    """Parameters of a job, besides those of any job.

    Attributes
    ----------
    query : str
        Any ``SELECT`` statement.
    url : str
        SQLAlchemy URL of the source database.
    table : str
        Table for the scores, ``table`` or ``schema.table``.
    rejects_table : str, optional
        Table for the rejects. Defaults to the name of `table` with ``_rejects`` appended.
    target_url : str, optional
        SQLAlchemy URL of the target database. Defaults to the source.
    key : str, optional
        Column that orders the rows. Defaults to the identifier. An index on it makes reading faster.
    if_exists : {"fail", "replace"}
        Whether existing tables are an error or are replaced.
    resume : bool
        Continue a killed job. If false, its remains are dropped.
    """

    query: str
    url: str
    table: str
    rejects_table: str | None = None
    target_url: str | None = None
    key: str | None = None
    if_exists: IfExists = "fail"
    resume: bool = False


def score_query(scorer: Scorer, job: SqlJob) -> dict[str, Any]:
    """Score every row of a query.

    Parameters
    ----------
    scorer : Scorer
    job : SqlJob

    Returns
    -------
    dict
        The summary: counts, reasons, score distribution, drift, model and duration; serialisable as JSON.

    Raises
    ------
    TableError
        If the query can't be read, a table exists, another job writes it, or rows that the resumed job has done
        have changed.
    TooManyRejectsError
        If the limit is exceeded. Unfinished tables are kept for resuming with a higher limit.
    """
    started = time.perf_counter()
    source = open_database(job.url)
    target = source if job.target_url in (None, job.url) else open_database(str(job.target_url))
    tally = Tally(Drift(scorer.manifest))
    writer = open_reasons(scorer, job.reasons)
    with source.explaining(), target.explaining(), ExitStack() as stack:
        writing = stack.enter_context(target.engine.connect())
        # A second connection to a SQLite file would block the first one from writing.
        alone = target is source and source.is_sqlite
        reading = writing if alone else stack.enter_context(_open_reader(source))
        query = Query(reading, job.query, scorer.schema, job.key, job.keep)
        reasons = () if writer is None else list_columns(writer)
        tables = Tables(target, writing, query, job.table, job.rejects_table, reasons)
        hashes = JobHashes(query.columns, is_wanted=job.has_hashes)
        state = tally.to_state() | hashes.to_state()
        progress = tables.begin(_essence(scorer, job, query), state, job.if_exists, resume=job.resume)
        tally.restore(progress.state)
        hashes.restore(progress.state)
        resumed_at = tally.rows
        if not progress.finished:
            _check_unchanged(reading, query, progress)
            total = int(reading.execute(query.count()).scalar_one())
            read = read_by_copy if source.can_copy else read_by_cursor
            page_rows = None if writer is None else SLOW_PAGE_ROWS
            pages = read(reading, query, progress.position, page_rows, has_hashes=job.has_hashes)
            ahead = pages if alone else stack.enter_context(read_ahead(pages))
            bar = stack.enter_context(_show_progress(total, tally.rows))
            for page, may_end in look_ahead(ahead):
                _score_page(scorer, query, tables, page, tally, writer)
                hashes.add(page)
                bar.update(len(page.rows))
                bar.set_postfix(rejects=tally.rejected, refresh=False)
                if may_end:
                    state = tally.to_state() | hashes.to_state()
                    progress = tables.advance(progress, Position(nulls=True, key=page.last), state)
                    if job.max_rejects:
                        job.max_rejects.check(tally, is_end=False)
            if job.max_rejects:
                job.max_rejects.check(tally)
            if tally.rows != total and source.has_snapshot:
                raise TableError(f"the query has {total:,} rows, and {tally.rows:,} were read; nothing is published")
            hashes.finish(tables.hash_written)
            tables.finish(progress, tally, tally.to_state() | hashes.to_state())
        tables.publish()
    return {
        **summarize(tally, scorer, resumed_at, started),
        "query": query.text,
        "source": source.name,
        "target": target.name,
        "table": tables.scores.name,
        "rejects_table": tables.rejects.name,
        **hashes.summarize(),
        "notes": [*query.notes, *hashes.notes],
    }


def _score_page(
    scorer: Scorer, query: Query, tables: Tables, page: Page, tally: Tally, writer: ReasonWriter | None
) -> None:
    chunk = score_rows(scorer, Rows(page.rows, len(page.rows), first=tally.rows + 1), query.keep, writer)
    tables.scores.append(chunk.scores)
    tables.rejects.append(chunk.rejects)
    tally.add(chunk.scored)


@contextmanager
def _open_reader(database: Database) -> Iterator[sa.Connection]:
    """Yield a connection with a consistent snapshot, read-only where the database supports it."""
    with database.engine.connect() as connection:
        if database.can_copy:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection


def _show_progress(total: int, done: int) -> tqdm[Any]:
    return tqdm(total=total, initial=done, desc="scoring", unit="row", unit_scale=True, disable=None)


def _essence(scorer: Scorer, job: SqlJob, query: Query) -> dict[str, Any]:
    """Return the parameters that must be the same for a job to be resumed."""
    return {
        "query": query.text,
        "source": open_database(job.url).name,
        "key": query.key,
        "keep": list(query.keep),
        "reasons": job.reasons,
        "model_version": scorer.version,
        "manifest_sha256": scorer.manifest.content["manifest_sha256"],
    }


def _check_unchanged(reading: sa.Connection, query: Query, progress: Progress) -> None:
    """Raise an error if the number of rows before the position has changed since the job was started."""
    if progress.position == Position():
        return
    found = int(reading.execute(query.count(progress.position)).scalar_one())
    done = progress.state["rows"]
    if found != done:
        raise TableError(
            f"the rows of the query have changed since the job was started: up to {query.key} "
            f"{progress.position.key} there were {done:,} and now are {found:,}; start again without --resume"
        )
