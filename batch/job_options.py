"""Parameters that the jobs for files, databases and Spark have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn.errors import ChurnError, TooManyRejectsError

if TYPE_CHECKING:
    from churn.reasons.strongest import Wanted
    from churn.tables.tally import RowCounts


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """Maximum number or percentage of rejected rows before a job fails.

    Attributes
    ----------
    number : float
        Number of rows, or percentage of all rows.
    is_share : bool
    """

    number: float
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> RejectLimit:
        """Parse a number of rows such as ``100``, or a percentage such as ``2.5%``.

        Raises
        ------
        ChurnError
            If the text is neither.
        """
        is_share = text.strip().endswith("%")
        try:
            number = float(text.strip().removesuffix("%")) if is_share else int(text)
        except ValueError:
            number = -1
        if not 0 <= number < (100.0001 if is_share else float("inf")):
            raise ChurnError(
                f"--max-rejects: {text!r} is not a limit; allowed: a number of rows such as 100, or 0% to 100%"
            )
        return cls(number, is_share)

    def check(self, counts: RowCounts, *, is_end: bool = True) -> None:
        """Raise an error if too many rows are rejected; a percentage is checked at the end alone.

        Raises
        ------
        TooManyRejectsError
        """
        if self.is_share and not is_end:
            return
        if counts.rejected > (counts.rows * self.number / 100 if self.is_share else self.number):
            allowed = f"{self.number:g}%" if self.is_share else f"{self.number:,}"
            raise TooManyRejectsError(
                f"{counts.rejected:,} of {counts.rows:,} rows could not be scored; allowed: {allowed}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Parameters of any job.

    Attributes
    ----------
    keep : tuple of str
        Columns to copy to the scores.
    max_rejects : RejectLimit, optional
    reasons : int or "all", optional
        Number of reasons for each customer. By default there are none.
    has_hashes : bool
        Whether the summary has the hashes of what is read and written.
    """

    keep: tuple[str, ...] = ()
    max_rejects: RejectLimit | None = None
    reasons: Wanted | None = None
    has_hashes: bool = False
