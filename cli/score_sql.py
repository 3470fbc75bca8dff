"""`churn score --sql`: score the rows of a query into a table."""

from __future__ import annotations

import json
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

from churn.errors import EngineError
from churn.runtime.imports import block_imports
from cli.score_end import describe, exit_codes, print_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from churn.engines import EngineChoice

    Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--sql", metavar="QUERY", help="Score the rows of this query instead of INPUT."),
    click.option(
        "--url",
        envvar="CHURN_SQL_URL",
        help="With --sql: SQLAlchemy URL of the source database. Set CHURN_SQL_URL instead to keep a password out of "
        "the process list.",
    ),
    click.option(
        "--target-url",
        envvar="CHURN_SQL_TARGET_URL",
        help="With --sql: SQLAlchemy URL of the target database, or CHURN_SQL_TARGET_URL.  [default: the source]",
    ),
    click.option("--table", help="With --sql: table of scores to write."),
    click.option("--rejects-table", help="With --sql: table of rows that can't be scored.  [default: TABLE_rejects]"),
    click.option("--key", help="With --sql: column that orders the rows.  [default: the identifier]"),
)


def add_options(command: Command) -> Command:
    """Add the options for scoring a query to a command."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


@block_imports()
def run(models: Path, engine: EngineChoice, options: Mapping[str, Any]) -> dict[str, Any]:
    """Score the rows of ``--sql`` into ``--table``.

    Parameters
    ----------
    models : Path
        Folder of the model versions.
    engine : {"auto", "onnx", "tensorflow"}
    options : mapping of str to object
        The options of `add_options`, and ``if_exists``, ``keep``, ``max_rejects``, ``reasons``, ``records``, ``resume``
        and ``summary``.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    click.UsageError
        If ``--url`` or ``--table`` is missing.
    EngineError
        If SQLAlchemy is not installed.
    """
    for name in ("url", "table"):
        if not options[name]:
            raise click.UsageError(f"--sql needs --{name}")
    try:
        import sqlalchemy  # noqa: F401
    except ModuleNotFoundError as error:
        raise EngineError("SQLAlchemy is not installed: pip install 'churn[sql]'") from error
    from batch.sql.job import SqlJob, score_query
    from churn.registry import Registry
    from churn.runtime.files import replace_text
    from churn.scorer import load_scorer

    job = SqlJob(
        query=options["sql"],
        url=options["url"],
        table=options["table"],
        rejects_table=options["rejects_table"],
        target_url=options["target_url"],
        key=options["key"],
        keep=options["keep"],
        max_rejects=options["max_rejects"],
        reasons=options["reasons"],
        if_exists=options["if_exists"],
        resume=options["resume"],
        has_hashes=options["records"] is not None,
    )
    scorer = load_scorer(Registry(models).current_folder(), engine)
    with exit_codes():
        summary = score_query(scorer, job)
    if options["summary"] is not None:
        replace_text(options["summary"], json.dumps(summary, indent=1) + "\n")
    print_notes(summary)
    click.echo(describe(summary, summary["table"], summary["rejects_table"]))
    return summary
