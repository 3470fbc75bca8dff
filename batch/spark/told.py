"""Errors of Spark as one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def explaining(source: str) -> Iterator[None]:
    """Convert errors of Spark to a `TableError` of one line.

    Parameters
    ----------
    source : str
        Name of the table, for messages.
    """
    try:
        yield
    except PySparkException as error:
        told = [line for line in str(error).splitlines() if line.strip() and not line.startswith((" ", "\t"))]
        ours = [line for line in told if line.startswith("churn.errors.")]
        raise TableError(f"{source}: {(ours or told)[0]}") from error
    except Exception as error:
        # Py4J's error for a failed task; its text contains the stack trace of the worker.
        if type(error).__module__ != "py4j.protocol":
            raise
        told = [line.strip() for line in str(error).splitlines()]
        ours = [line for line in told if "churn.errors." in line] or [line for line in told if "Error: " in line]
        raise TableError(f"{source}: {(ours or told)[0]}") from error
