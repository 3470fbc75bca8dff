"""What the server knows about a request and the application does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from service.errors import RequestProblem

TICKET = "churn.ticket"
"""Key of the `Ticket` in the scope of an ASGI request."""


class Client(Protocol):
    """The connection of a request."""

    @property
    def has_left(self) -> bool:
        """Whether the connection is closed."""

    @property
    def has_sent_all(self) -> bool:
        """Whether the client has closed its half of the connection."""

    @property
    def has_due(self) -> bool:
        """Whether responses of the fast path to earlier requests are pending."""

    def watch(self) -> None:
        """Read on, so that a client that leaves is noticed; reading has stopped if the body is large."""

    def abandon(self) -> None:
        """Close the connection without a response."""


class Ticket(NamedTuple):
    """A request's client, arrival and fate.

    Attributes
    ----------
    client : Client
    arrived : float
        When the request was read, from `time.perf_counter`.
    refusal : RequestProblem or None
        Why the request must be refused; None if it need not be.
    """

    client: Client
    arrived: float
    refusal: RequestProblem | None
