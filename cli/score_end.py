"""Exit codes and closing message shared by all forms of `churn score`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from churn.errors import TooManyRejectsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXIT_TOO_MANY_REJECTS, EXIT_INTERRUPTED = 2, 130

RESUMABLE = "run the same command with --resume to continue"


HIGHER_LIMIT = "raise --max-rejects and add --resume to continue"


@contextmanager
def exit_codes(left: str = RESUMABLE) -> Iterator[None]:
    """Exit with 2 if a job has too many rejects and with 130 if it is interrupted, after printing one line.

    Parameters
    ----------
    left : str
        State of an unfinished job, as a clause that is printed after the error.
    """
    try:
        yield
    except TooManyRejectsError as error:
        click.echo(f"error: {error}; {HIGHER_LIMIT if left == RESUMABLE else left}", err=True)
        sys.exit(EXIT_TOO_MANY_REJECTS)
    except KeyboardInterrupt:
        click.echo(f"interrupted: {left}", err=True)
        sys.exit(EXIT_INTERRUPTED)


def print_notes(summary: Mapping[str, Any]) -> None:
    """Print the notes of a summary to standard error."""
    for note in summary["notes"]:
        click.echo(f"note: {note}", err=True)


def describe(summary: Mapping[str, Any], scores: str, rejects: str) -> str:
    """Return one line that describes a finished job."""
    return (
        f"{summary['rows']:,} customers: {summary['scored']:,} scored with version {summary['model_version']} into "
        f"{scores}, {summary['leavers']:,} predicted to leave; {summary['rejected']:,} rejected into {rejects}"
    )
