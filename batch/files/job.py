"""Scores a file into two files, in parts: killed at any moment it goes on, and ends with the same bytes.

Scores and rejects are appended to unfinished files in a folder of the job's own. Every other second what was appended
is made to survive and the journal says how long the files are then, up to where the input is done, and what was
counted. A job that is resumed cuts the files to those lengths and goes on from there. Its blocks end where they ended
before, and each is written by itself, so nothing in the files tells that it was killed.

At the end both files are counted, the summary is written, and the scores get their name last: where they are,
everything is.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch.files.journal import JobFolder, Journal
from batch.files.locations import STANDARD, locate
from batch.files.run import FileRun
from batch.files.source import Source
from batch.files.target import Target, check_folder, publish
from batch.tally import Tally
from churn import __version__
from churn.errors import TableError
from churn.runtime.files import replace_text

if TYPE_CHECKING:
    from pathlib import Path

    from batch.files.target import IfExists
    from batch.tally import RejectLimit
    from churn.scorer import Scorer


@dataclass(frozen=True, slots=True)
class FileJob:
    """What is asked for.

    Attributes
    ----------
    source : str
        A file, a folder, a glob, or ``-`` for standard input; a path or URI.
    output : str
        A file; a path or URI.
    rejects : str, optional
        The output's name with ``.rejects`` if not given.
    summary : Path, optional
        JSON file of what was done.
    input_format, output_format : str, optional
        One of `batch.files.formats.NAMES`, where the name does not say it.
    keep : tuple of str
        Columns to pass through.
    max_rejects : RejectLimit, optional
    if_exists : {"fail", "replace"}
        What to do with files that have the names.
    resume : bool
        Go on with what a killed job left; without it that is dropped.
    work : Path, optional
        Folder for what is unfinished; beside the output if not given.
    """

    source: str
    output: str
    rejects: str | None = None
    summary: Path | None = None
    input_format: str | None = None
    output_format: str | None = None
    keep: tuple[str, ...] = ()
    max_rejects: RejectLimit | None = None
    if_exists: IfExists = "fail"
    resume: bool = False
    work: Path | None = None


def score_file(scorer: Scorer, job: FileJob) -> dict[str, Any]:
    """Score every row of the input.

    Parameters
    ----------
    scorer : Scorer
    job : FileJob

    Returns
    -------
    dict
        The summary as plain data.

    Raises
    ------
    TableError
        If the input can't be read, the output exists or another job writes it, or the job that is resumed was another.
    TooManyRejectsError
        What is written stays aside, for `FileJob.resume` with a higher limit.
    """
    started = time.perf_counter()
    if job.resume and job.source == STANDARD:
        raise TableError("standard input can't be read a second time, so there is nothing to resume")
    source = Source(job.source, scorer.schema, job.keep, job.input_format)
    target = Target.find(job.output, job.rejects, job.output_format)
    target.check_apart(source)
    if job.summary is not None:
        check_folder(locate(str(job.summary)))
    with JobFolder(target.choose_folder(job.work)) as folder:
        journal = _begin(scorer, job, source, target, folder)
        if journal.summary is None:
            run = FileRun(scorer, source, target, folder, journal, started)
            journal = run.run(job.max_rejects, has_hashes=job.summary is not None)
        publish(folder.rejects, target.rejects)
        if job.summary is not None:
            replace_text(job.summary, json.dumps(journal.summary, indent=1) + "\n")
        publish(folder.scores, target.scores)
        folder.remove()
    return dict(journal.summary or {})


def _begin(scorer: Scorer, job: FileJob, source: Source, target: Target, folder: JobFolder) -> Journal:
    """Return how far a killed job was, or the start of a new one."""
    essence = {
        "files": [[file.name, file.size, file.modified] for file in source.files],
        "input_format": source.form.name,
        "keep": list(source.columns.keep),
        "output": target.scores.name,
        "output_format": target.form.name,
        "rejects": target.rejects.name,
        "model_version": scorer.version,
        "manifest_sha256": scorer.manifest.content["manifest_sha256"],
        # Others may round, pack or lay out otherwise.
        "engine": scorer.engine.name,
        "program": f"{__version__} with pyarrow {pa.__version__}",
    }
    found = folder.read(essence) if job.resume else None
    if found is None or found.summary is None:
        target.check_free(job.if_exists)
    if found is not None:
        return found
    folder.clear()
    return Journal(essence, Tally(scorer.manifest).to_state())
