"""`churn score INPUT --output OUTPUT`: score files or a pipe into files of scores and rejects."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from churn.runtime.imports import block_imports
from cli.extras import require_extra
from cli.score_end import RESUMABLE, describe, exit_codes, print_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from churn.engines import EngineChoice

    Command = TypeVar("Command", bound=Callable[..., Any])

STANDARD = "-"

FORMATS = click.Choice(["csv", "csv.gz", "csv.zst", "parquet", "arrow", "arrows"])

NAMES = ("rejects", "input_format", "output_format", "work")
"""Options that apply to files only."""

_OPTIONS = (
    click.option("--rejects", metavar="FILE", help="CSV of rows that can't be scored.  [default: OUTPUT.rejects]"),
    click.option("--input-format", type=FORMATS, help="Format of INPUT.  [default: by its name]"),
    click.option("--output-format", type=FORMATS, help="Format of the output.  [default: by its name]"),
    click.option(
        "--work",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder for unfinished files.  [default: the output's folder]",
    ),
)


def add_options(command: Command) -> Command:
    """Add the options for scoring files to a command."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


@block_imports()
def run(source: str, output: str, models: Path, engine: EngineChoice, options: Mapping[str, Any]) -> dict[str, Any]:
    """Score files.

    Parameters
    ----------
    source, output : str
        See `batch.files.job.FileJob`; ``-`` as output is standard output.
    models : Path
        Folder of the model versions.
    engine : {"auto", "onnx", "tensorflow"}
    options : mapping of str to object
        The options of `add_options`, and ``if_exists``, ``keep``, ``max_rejects``, ``resume`` and ``summary``.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    EngineError
        If the extra ``batch`` is not installed.
    """
    with require_extra("batch"):
        import pyarrow as pa  # noqa: F401
        import tqdm  # noqa: F401
    from batch.files.job import FileJob, score_file
    from batch.files.pipe_job import score_pipe
    from churn.registry import Registry
    from churn.scorer import load_scorer

    job = FileJob(
        source=source,
        output=output,
        rejects=options["rejects"],
        summary=options["summary"],
        input_format=options["input_format"],
        output_format=options["output_format"],
        decimal=options["decimal"],
        keep=options["keep"],
        max_rejects=options["max_rejects"],
        reasons=options["reasons"],
        if_exists=options["if_exists"],
        resume=options["resume"],
        work=options["work"],
        has_hashes=options["records"] is not None,
    )
    scorer = load_scorer(Registry(models).current_folder(), engine)
    if output == STANDARD:
        with exit_codes("standard output is incomplete"):
            summary = score_pipe(scorer, job)
    else:
        with exit_codes("standard input can't be resumed" if source == STANDARD else RESUMABLE):
            summary = score_file(scorer, job)
    print_notes(summary)
    scores = "standard output" if output == STANDARD else summary["output"]
    click.echo(describe(summary, scores, summary["rejects"]), err=output == STANDARD)
    return summary
