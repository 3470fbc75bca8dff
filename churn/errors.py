"""Exceptions for users; each message says what was wrong and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChurnError(Exception):
    """Base class of all expected errors."""


class SchemaError(ChurnError):
    """An inconsistent schema, or one that uses reserved names."""


class TableError(ChurnError):
    """An invalid training or input table; the message names file, line and column."""


class TooManyRejectsError(ChurnError):
    """A batch job with more rejected rows than its limit allows."""


class BundleError(ChurnError):
    """A model version that is incomplete, altered, incompatible, or scores differently."""


class KeyFileError(ChurnError):
    """A file of keys that can't be read or written, or that has no key that can be used."""


class MissingBackgroundError(ChurnError):
    """A model version without the customers that predictions are explained against."""


class RegistryError(ChurnError):
    """A model version that does not exist, or a folder that has no versions or can't take one."""


class EngineError(ChurnError):
    """An inference engine that is not installed or can't run the network."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A value that can't be scored.

    Attributes
    ----------
    row : int
        Position of the customer in the request or table, counted from 0.
    field : str
        Name of the column.
    reason : str
        What is wrong, as a clause such as ``"is missing"`` or ``"is not a number"``.
    sent : object
        The value as received; None if it is missing.
    allowed : str
        What would have been accepted.
    """

    row: int
    field: str
    reason: str
    sent: object
    allowed: str


class InvalidCustomersError(ChurnError):
    """Customers that can't be scored, with all invalid values.

    Parameters
    ----------
    violations : sequence of Violation
        In the order of the customers; may be truncated to a limit of the caller.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
        super().__init__(
            f"customer {first.row}: {first.field} {first.reason}: sent {first.sent!r}, allowed: {first.allowed}{more}"
        )
