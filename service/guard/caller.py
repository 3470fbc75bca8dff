"""Who calls, with what credential, and what the caller may do."""

from __future__ import annotations

import asyncio
import re
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from service.errors import Problem
from service.guard.scopes import ANY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from service.guard.buckets import Excess, Meter, RateLimits

AUTHORIZATION = b"authorization"
API_KEY = b"x-api-key"

CALLER = "churn.caller"
"""Key of the `Caller` in the scope of an ASGI request."""

NEVER = float("inf")

EVALUATIONS = 100
"""Evaluations of the network in a block that take about as long as a request with one customer."""

PAUSE_SECONDS = 1.0
"""Longest pause of a table between two looks at its rate limit."""

_match_bearer = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)").fullmatch
_is_plain = re.compile(rb"[!-~]+").fullmatch


class Caller:
    """A client whose credential has been verified.

    Parameters
    ----------
    name : str
        The name of the key, or what `service.guard.tokens.name_token` returns; has only characters that need no
        escaping. No two callers have the same name, so that limits are kept by it.
    label : str
        The same in metrics, where the number of names must be bounded.
    scopes : collection of str
    expires : float
        When the credential expires, in seconds since 1970; may be infinite.
    source : object
        The stored key, or the identifier of the key that signed the token: while it is valid, so is the credential.
    meter : Meter or None
        Rate limits; None if there are none.

    Attributes
    ----------
    needs_met : frozenset of str
        What a request may need according to `service.guard.scopes.find_scope`: the scopes, and `ANY`.
    """

    __slots__ = ("expires", "label", "meter", "name", "needs_met", "scopes", "source")

    def __init__(
        self,
        name: str,
        label: str,
        scopes: Collection[str],
        expires: float = NEVER,
        source: object = None,
        meter: Meter | None = None,
    ) -> None:
        self.name = name
        self.label = label
        self.scopes = frozenset(scopes)
        self.needs_met = frozenset((ANY, *scopes))
        self.expires = expires
        self.source = source
        self.meter = meter

    def charge(self, customers: int) -> None:
        """Count scored customers to the rate limit."""
        if self.meter is not None:
            self.meter.charge(customers)


NOBODY = Caller("-", "-", ())
"""Sends no credential."""
NOBODY.needs_met = frozenset()


class RefusedCredentialError(Exception):
    """A credential is not accepted.

    Attributes
    ----------
    reason : str
        Label of the metric.
    problem : Problem
    """

    def __init__(self, reason: str, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.reason = reason
        self.problem = problem


def read_credential(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the credential of a request; None if there is none.

    Raises
    ------
    RefusedCredentialError
        If there is more than one, so that no two programs can disagree on which counts; or if it can't be one.
    """
    sent = [(name, value) for name, value in headers if name in (AUTHORIZATION, API_KEY)]
    if not sent:
        return None
    if len(sent) > 1:
        detail = "the request has more than one credential; allowed: one Authorization or one X-API-Key header"
        raise RefusedCredentialError("ambiguous", unauthorized(detail))
    name, value = sent[0]
    value = value.rstrip(b" \t")  # is no part of it (RFC 9110, 5.5), but the parser leaves it
    if name == API_KEY:
        if _is_plain(value):
            return value
        raise RefusedCredentialError("malformed", unauthorized("the header X-API-Key has no key"))
    match = _match_bearer(value)
    if match is None:
        detail = "the header Authorization has another form; allowed: Bearer, followed by an API key or a token"
        raise RefusedCredentialError("malformed", unauthorized(detail))
    return match[1]


def unauthorized(detail: str, *, was_sent: bool = True) -> Problem:
    """Return the problem of a request without a valid credential (RFC 6750)."""
    challenge = 'Bearer realm="churn"' + (', error="invalid_token"' if was_sent else "")
    kind, title = (
        ("invalid-credentials", "The credentials are not valid")
        if was_sent
        else ("authentication-required", "The request needs credentials")
    )
    return Problem(401, kind, title, detail, headers={"WWW-Authenticate": challenge})


def forbidden(caller: Caller, scope: str) -> Problem:
    """Return the problem of a caller that lacks a scope."""
    return Problem(
        403,
        "missing-scope",
        "The credentials do not allow this",
        f"{caller.name} lacks the scope {scope!r}; it has: {', '.join(sorted(caller.scopes)) or 'none'}",
        headers={"WWW-Authenticate": f'Bearer realm="churn", error="insufficient_scope", scope="{scope}"'},
    )


def too_many_attempts(seconds: float) -> Problem:
    """Return the problem of a client whose credentials were refused too often."""
    return Problem(
        429,
        "too-many-attempts",
        "Too many credentials were refused",
        f"credentials that are not known yet are checked again in {ceil(seconds)} s; others are not affected",
        headers={"Retry-After": str(ceil(seconds))},
    )


def rate_limited(caller: Caller, excess: Excess, limits: RateLimits) -> Problem:
    """Return the problem of a caller beyond its rate limit (draft-ietf-httpapi-ratelimit-headers-10)."""
    rates = {name: rate for name, rate in limits._asdict().items() if rate is not None}
    wait = max(1, ceil(round(excess.wait, 3)))
    return Problem(
        429,
        "rate-limited",
        "The rate limit is exceeded",
        f"{caller.name} may send {rates[excess.quota]:g} {excess.quota} a second; retry in {wait} s",
        headers={
            "Retry-After": str(wait),
            "RateLimit-Policy": ", ".join(_describe_policy(name, rate) for name, rate in rates.items()),
            "RateLimit": f'"{excess.quota}";r=0;t={wait}',
        },
    )


def _describe_policy(quota: str, rate: float) -> str:
    window = max(1, ceil(1 / rate))
    unit = "" if quota == "requests" else f';qu="{quota}"'  # requests are the default unit
    return f'"{quota}";q={max(1, floor(rate * window))}{unit};w={window}'


def charge(scope: Mapping[str, Any], customers: int, evaluations: int = 0) -> None:
    """Count scored customers to the rate limit of the caller of an ASGI request.

    Parameters
    ----------
    scope : mapping
    customers : int
    evaluations : int
        Customers that were made up and scored to answer the request. `EVALUATIONS` of them count as one.
    """
    caller: Caller | None = scope.get(CALLER)
    if caller is not None:
        caller.charge(customers + evaluations // EVALUATIONS)


async def pace(scope: Mapping[str, Any]) -> None:
    """Wait until the customers of a table that were scored so far are within the rate limit of its caller."""
    caller: Caller | None = scope.get(CALLER)
    if caller is None or caller.meter is None:
        return
    while pause := caller.meter.find_pause():
        await asyncio.sleep(min(pause, PAUSE_SECONDS))
