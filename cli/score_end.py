"""How every way of `churn score` ends: what it says, and its exit codes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from churn.errors import TooManyRejectsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXIT_TOO_MANY_REJECTS, EXIT_INTERRUPTED = 2, 130

RESUMABLE = "what is written can be gone on with by --resume"


@contextmanager
def exit_codes(left: str = RESUMABLE) -> Iterator[None]:
    """End the process with a code of its own, and one line, where a job is cut off by a person or by its own limit.

    Parameters
    ----------
    left : str
        What then is left, as a clause.
    """
    try:
        yield
    except TooManyRejectsError as error:
        click.echo(f"error: {error}; {left}{' and a higher limit' if left == RESUMABLE else ''}", err=True)
        sys.exit(EXIT_TOO_MANY_REJECTS)
    except KeyboardInterrupt:
        click.echo(f"interrupted: {left}", err=True)
        sys.exit(EXIT_INTERRUPTED)


def describe(summary: Mapping[str, Any], scores: str, rejects: str) -> str:
    """Return what a job did, in a line."""
    return (
        f"{summary['rows']:,} customers: {summary['scored']:,} scored with version {summary['model_version']} into "
        f"{scores}, of whom {summary['leavers']:,} are said to leave; {summary['rejected']:,} rejected into {rejects}"
    )
