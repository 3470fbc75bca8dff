"""The one family of errors a user of this project can meet; each message says what was wrong and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChurnError(Exception):
    """Base of every error this project raises on purpose."""


class SchemaError(ChurnError):
    """A schema that contradicts itself or the names the service reserves."""


class TableError(ChurnError):
    """A training or input table that can't be understood; the message names file, line and column."""


class TooManyRejectsError(ChurnError):
    """More rows of a batch job could not be scored than its limit allows."""


class BundleError(ChurnError):
    """A model folder that is incomplete, altered, of another version or does not score as it did."""


class RegistryError(ChurnError):
    """A model version that does not exist, or a registry without any."""


class EngineError(ChurnError):
    """An engine that is not installed or can't run the network."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that can't be scored.

    Attributes
    ----------
    row : int
        Position of the customer in the request or table, counted from 0.
    field : str
        Name of the column.
    reason : str
        What is wrong, as a clause: ``"is missing"``, ``"is not a number"``.
    sent : object
        The value as it came; None where it is missing.
    allowed : str
        What would have been accepted.
    """

    row: int
    field: str
    reason: str
    sent: object
    allowed: str


class InvalidCustomersError(ChurnError):
    """Customers that can't be scored, with everything that is wrong with them.

    Parameters
    ----------
    violations : sequence of Violation
        In the order of the customers; may be cut off at a limit the caller chose.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
        super().__init__(
            f"customer {first.row}: {first.field} {first.reason}: sent {first.sent!r}, allowed: {first.allowed}{more}"
        )
