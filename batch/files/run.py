"""One run of a file job: from its start or resumption until the files are ready to be published."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batch.chunk import REJECTS
from batch.files.formats import Format
from batch.files.hashing import hashing
from batch.files.pipeline import score_in_order
from batch.files.progress import advance, show_progress
from batch.files.sink import open_sink
from batch.files.verify import count_rejected, count_rows
from batch.summary import summarize
from churn.drift import Drift
from churn.runtime.files import sha256
from churn.tables.tally import Tally

if TYPE_CHECKING:
    from batch.files.journal import JobFolder, Journal
    from batch.files.pipeline import ScoredBlock
    from batch.files.source import Source
    from batch.files.target import Target
    from batch.job_options import RejectLimit
    from churn.scorer import Scorer

COMMIT_SECONDS = 2.0
"""Interval between commits: roughly the work that is lost when a job is killed."""


class FileRun:
    """One run of a file job.

    Parameters
    ----------
    scorer : Scorer
    source : Source
    target : Target
    folder : JobFolder
    journal : Journal
        State from which to start.
    started : float
        Start of the run, from `time.perf_counter`.
    """

    def __init__(
        self, scorer: Scorer, source: Source, target: Target, folder: JobFolder, journal: Journal, started: float
    ) -> None:
        self._scorer, self._source, self._target, self._folder = scorer, source, target, folder
        self._begun = self._journal = journal
        self._started = started
        self._position = journal.position
        self._tally = Tally(Drift(scorer.manifest))
        self._tally.restore(journal.counts)

    def run(self, limit: RejectLimit | None, *, has_hashes: bool) -> Journal:
        """Score the remaining rows, verify the files, and record that they are ready to be published.

        Parameters
        ----------
        limit : RejectLimit, optional
        has_hashes : bool
            Whether the summary contains the SHA-256 of the files.

        Raises
        ------
        TableError
            If the input can't be read or has changed, or the files don't have the number of rows that were counted.
        TooManyRejectsError
        """
        resumed_at = self._tally.rows
        files = self._source.files if has_hashes else ()
        columns = self._source.columns
        with (
            closing(
                open_sink(self._folder.scores, self._target.form, columns.scores, self._begun.scores, columns.distinct)
            ) as self._scores,
            closing(open_sink(self._folder.rejects, Format("csv"), REJECTS, self._begun.rejects)) as self._rejects,
            hashing(files) as inputs,
        ):
            self._score(limit)
            self._commit()
            if limit is not None:
                limit.check(self._tally)
            finishing = time.perf_counter()
            self._scores.finish()
            self._rejects.finish()
            self._source.check_unchanged()
            self._verify()
            hashes = {"inputs": self._source.describe(inputs.result()), **self._hash()} if has_hashes else {}
        summary = {
            **summarize(self._tally, self._scorer, resumed_at, self._started),
            "seconds_in_all": round(self._worked(), 3),
            "seconds_finishing": round(time.perf_counter() - finishing, 3),
            "source": self._source.name,
            "output": self._target.scores.name,
            "rejects": self._target.rejects.name,
            "notes": list(self._source.columns.notes),
            **hashes,
        }
        return self._note(summary=summary)

    def _score(self, limit: RejectLimit | None) -> None:
        done = self._tally.rows
        blocks = score_in_order(self._scorer, self._source, self._scores.encode, self._position, done)
        committed = time.perf_counter()
        with closing(blocks), show_progress(done) as bar:
            for scored in blocks:
                self._take(scored)
                advance(bar, self._tally, scored.share)
                if limit is not None:
                    limit.check(self._tally, is_end=False)
                if time.perf_counter() - committed >= COMMIT_SECONDS:
                    self._commit()
                    committed = time.perf_counter()

    def _take(self, scored: ScoredBlock) -> None:
        chunk = scored.chunk
        self._scores.append(scored.data, chunk.scores)
        if len(chunk.rejects):
            self._rejects.append(self._rejects.encode(chunk.rejects), chunk.rejects)
        self._tally.add(chunk.scored)
        self._position = scored.after

    def _commit(self) -> None:
        """Flush the files to disk, then write the journal."""
        self._note(scores=self._scores.sync(), rejects=self._rejects.sync(), position=self._position)

    def _note(self, **changes: Any) -> Journal:  # noqa: ANN401
        self._journal = replace(self._journal, counts=self._tally.to_state(), seconds=self._worked(), **changes)
        self._folder.write(self._journal)
        return self._journal

    def _worked(self) -> float:
        return self._begun.seconds + time.perf_counter() - self._started

    def _verify(self) -> None:
        """Count the rows in the files to verify that every row is in exactly one of them."""
        found = (count_rows(self._folder.scores, self._target.form), count_rejected(self._folder.rejects))
        self._tally.check_written(self._target.scores.name, "files", found)

    def _hash(self) -> dict[str, str]:
        return {"output_sha256": sha256(self._folder.scores), "rejects_sha256": sha256(self._folder.rejects)}
