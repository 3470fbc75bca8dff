"""Score files into a file of scores and a file of rejects, resumable after a kill with identical results.

Scores and rejects are appended to unfinished files in the job's working folder. Every two seconds the job flushes them
to disk and writes a journal with the lengths of the files, the position in the input, and the counts. A resumed job
truncates the files to these lengths and continues from there. Its blocks have the same boundaries as before, and each
is written independently, so the files don't depend on whether the job was killed.

At the end the rows of both files are counted and the summary is written. The scores are published last: if they exist,
everything exists.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch.chunk import open_reasons
from batch.files.journal import JobFolder, Journal
from batch.files.locations import STANDARD, locate
from batch.files.run import FileRun
from batch.files.source import Source
from batch.files.target import Target, check_folder, publish
from batch.job_options import JobOptions
from churn import __version__
from churn.drift import Drift
from churn.errors import TableError
from churn.runtime.files import replace_text
from churn.tables.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from batch.files.target import IfExists
    from churn.scorer import Scorer


@dataclass(frozen=True, slots=True)
class FileJob(JobOptions):
    """Parameters of a job, besides those of any job.

    Attributes
    ----------
    source : str
        Path or URI of a file, folder or glob, or ``-`` for standard input.
    output : str
        Path or URI of the file of scores.
    rejects : str, optional
        File of rejects. Defaults to the output's name with ``.rejects`` appended.
    summary : Path, optional
        JSON file for the summary.
    input_format, output_format : str, optional
        One of `batch.files.formats.NAMES`. Defaults to the format given by the file name.
    decimal : {".", ","}, optional
        Decimal separator of numbers in text. Detected for each CSV file by default.
    if_exists : {"fail", "replace"}
        Whether existing files are an error or are replaced.
    resume : bool
        Continue a killed job. If false, its remains are deleted.
    work : Path, optional
        Folder for unfinished files. Defaults to the folder of the output.
    """

    source: str
    output: str
    rejects: str | None = None
    summary: Path | None = None
    input_format: str | None = None
    output_format: str | None = None
    decimal: str | None = None
    if_exists: IfExists = "fail"
    resume: bool = False
    work: Path | None = None

    @property
    def needs_hashes(self) -> bool:
        """Whether files are hashed, as they also are for a summary that is a file."""
        return self.has_hashes or self.summary is not None


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
        If the input can't be read, the output exists, another job writes it, or the job to be resumed is a
        different one.
    TooManyRejectsError
        If the limit is exceeded. Unfinished files are kept for resuming with a higher limit.
    """
    started = time.perf_counter()
    if job.resume and job.source == STANDARD:
        raise TableError("--resume is not possible with standard input, which can't be read again")
    writer = open_reasons(scorer, job.reasons)
    source = Source(job.source, scorer.schema, job.keep, job.input_format, job.decimal, writer)
    target = Target.find(job.output, job.rejects, job.output_format)
    target.check_apart(source)
    if job.summary is not None:
        check_folder(locate(str(job.summary)))
    with JobFolder(target.choose_folder(job.work)) as folder:
        journal = _begin(scorer, job, source, target, folder)
        if journal.summary is None:
            run = FileRun(scorer, source, target, folder, journal, started)
            journal = run.run(job.max_rejects, has_hashes=job.needs_hashes)
        publish(folder.rejects, target.rejects)
        if job.summary is not None:
            replace_text(job.summary, json.dumps(journal.summary, indent=1) + "\n")
        publish(folder.scores, target.scores)
        folder.remove()
    return dict(journal.summary or {})


def _begin(scorer: Scorer, job: FileJob, source: Source, target: Target, folder: JobFolder) -> Journal:
    """Return the journal of the killed job if it is resumed, otherwise that of a new job."""
    essence = {
        "files": [[file.name, file.size, file.modified] for file in source.files],
        "input_format": source.form.name,
        "decimal": job.decimal,
        "keep": list(source.columns.keep),
        "reasons": job.reasons,
        "output": target.scores.name,
        "output_format": target.form.name,
        "rejects": target.rejects.name,
        "model_version": scorer.version,
        "manifest_sha256": scorer.manifest.content["manifest_sha256"],
        # Other versions may round, compress or arrange data differently.
        "engine": scorer.engine.name,
        "program": f"{__version__} with pyarrow {pa.__version__}",
    }
    found = folder.read(essence) if job.resume else None
    if found is None or found.summary is None:
        target.check_free(job.if_exists)
    if found is not None:
        return found
    folder.clear()
    return Journal(essence, Tally(Drift(scorer.manifest)).to_state())
