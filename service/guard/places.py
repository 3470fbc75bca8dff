"""Places for requests that are worked on in turns, of which no caller may hold all."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service.guard.caller import CALLER, NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.errors import Problem
    from service.guard.caller import Caller


class Places:
    """Places of one worker.

    A caller may hold as many as are free (the dynamic threshold of Choudhury and Hahne, 1998): one caller alone half of
    them, two a third each, m callers a share of m + 1. So there is always a place for a caller who holds none.

    Parameters
    ----------
    total : int

    Attributes
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held: Counter[str] = Counter()
        self._taken = 0

    @contextmanager
    def take(self, party: str, refusal: Problem) -> Iterator[None]:
        """Hold a place in the block.

        Parameters
        ----------
        party : str
            See `find_party`.
        refusal : Problem
            Raised if the caller may hold no further place.
        """
        if self._held.get(party, 0) >= self.total - self._taken:
            raise refusal
        self._held[party] += 1
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
            self._held[party] -= 1
            if not self._held[party]:
                del self._held[party]


def find_party(scope: Mapping[str, Any]) -> str:
    """Return who holds the places of an ASGI request: its caller, or the address if it has no credential."""
    caller: Caller | None = scope.get(CALLER)
    if caller is not None and caller is not NOBODY:
        return f"caller {caller.name}"
    client = scope.get("client")
    return f"address {client[0] if client else ''}"
