"""Decide who may do what: the same for requests to the application and for those on the fast path.

A request on the fast path is decided on only if it has no credential, or one that was verified before. All others go to
the application, where a credential can be verified in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from time import time
from typing import TYPE_CHECKING, Any, NoReturn

from churn.errors import ChurnError
from service.errors import Problem
from service.guard.attempts import Attempts
from service.guard.caller import (
    CALLER,
    NOBODY,
    RefusedCredentialError,
    forbidden,
    rate_limited,
    read_credential,
    too_many_attempts,
    unauthorized,
)
from service.guard.scopes import OPEN, find_scope
from service.guard.verified import Checked, digest_of
from service.observe.logs import bind_caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from service.guard.caller import Caller
    from service.guard.verifier import Verifier
    from service.observe.audit import AuditLog
    from service.observe.guard_metrics import GuardMetrics

MAX_VERIFIED = 10_000
MAX_REFUSED = 1_000
"""Refused credentials that are remembered, so that a client that keeps sending one costs nothing and learns why."""

MAX_CHECKING = 64
"""Credentials that may wait to be checked."""

WATCH_SECONDS = 0.5
"""Interval in which the files of keys are looked at."""

MAY_CHANGE = frozenset({"throttled", "token-key", "token-early", "token-provider"})
"""Reasons that may not hold any more a moment later, without a change of our keys; nor are they guesses."""

Client = tuple[str, int] | None

_log = logging.getLogger(__name__)


class Gate:
    """Decides on requests.

    Parameters
    ----------
    verifier : Verifier
    metrics : GuardMetrics
    audit : AuditLog

    Attributes
    ----------
    generation : int
        Changes with the keys: what was known of a connection's credential must be found again.
    """

    def __init__(self, verifier: Verifier, metrics: GuardMetrics, audit: AuditLog) -> None:
        self.generation = 0
        self._verifier = verifier
        self._metrics = metrics
        self._audit = audit
        self._attempts = Attempts()
        self._verified: Checked[Caller] = Checked(MAX_VERIFIED)
        self._refused: Checked[tuple[str, str]] = Checked(MAX_REFUSED)  # reason and detail
        self._checking: dict[bytes, asyncio.Task[Caller]] = {}
        self._turn = asyncio.Lock()
        verifier.on_rotated = lambda: self._follow("identity provider's keys", "")

    def close(self) -> None:
        """Stop verifying."""
        self._verifier.close()

    # The decision

    def allow(self, caller: Caller, needed: str, client: Client) -> None:
        """Decide whether a caller may do what needs a scope, and count the request to its rate limits.

        Parameters
        ----------
        caller : Caller
        needed : str
            See `service.guard.scopes.find_scope`.
        client : tuple or None
            Address and port.

        Raises
        ------
        Problem
            401, 403 or 429.
        """
        if needed not in caller.needs_met or caller.expires <= time():
            self._object(caller, needed, name_client(client))
        meter = caller.meter
        if meter is not None and (excess := meter.begin()) is not None:
            self._metrics.count_limited(caller.label, excess.quota)
            raise rate_limited(caller, excess, meter.limits)

    def _object(self, caller: Caller, needed: str, address: str) -> NoReturn:
        if caller is NOBODY:
            detail = "send an API key or a token: Authorization: Bearer …, or an API key as X-API-Key: …"
            self._refuse("missing", caller, address, unauthorized(detail, was_sent=False))
        if caller.expires <= time():
            self._refuse("expired", caller, address, unauthorized("the API key or token has expired"))
        self._refuse("scope", caller, address, forbidden(caller, needed))

    def _refuse(self, reason: str, caller: Caller, address: str, problem: Problem) -> NoReturn:
        self._metrics.count_refused(reason)
        self._audit.note_refused(reason, caller.name, address)
        raise problem

    # Who it is

    def find_known(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller | None:
        """Return who has sent a request, if it needs no check: its credential was verified before, or it has none."""
        try:
            credential = read_credential(headers)
        except RefusedCredentialError:
            return None
        return NOBODY if credential is None else self._verified.find(digest_of(credential))

    async def admit(self, scope: MutableMapping[str, Any]) -> None:
        """Decide on a request to the application, and add its `Caller` to its scope.

        Raises
        ------
        Problem
            401, 403, 429, or 503 if the identity provider's keys could not be read.
        """
        needed = find_scope(scope)
        if needed == OPEN:
            return
        client: Client = scope.get("client")
        address = name_client(client)
        try:
            caller = await self._identify(scope["headers"], address)
        except RefusedCredentialError as error:
            self._refuse(error.reason, NOBODY, address, error.problem)
        scope[CALLER] = caller
        self.allow(caller, needed, client)

    async def find_objection(self, scope: MutableMapping[str, Any]) -> Problem | None:
        """Return why a request to an application may not be handled; None if it may. Its caller is in its log lines."""
        try:
            await self.admit(scope)
        except Problem as problem:
            return problem
        finally:
            if (caller := scope.get(CALLER)) is not None:
                bind_caller(caller.name)
        return None

    async def _identify(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Caller:
        credential = read_credential(headers)
        if credential is None:
            return NOBODY
        digest = digest_of(credential)
        if (caller := self._verified.find(digest)) is not None:
            return caller
        if (refused := self._refused.find(digest)) is not None:
            reason, detail = refused
            raise RefusedCredentialError(reason, unauthorized(detail))
        checking = self._checking.get(digest)
        if checking is None:  # else the same credential is being checked for another request
            if len(self._checking) >= MAX_CHECKING:
                raise RefusedCredentialError("throttled", too_many_attempts(1.0))
            checking = self._checking[digest] = asyncio.create_task(self._check(credential, digest, address))
            checking.add_done_callback(lambda task: self._end_check(digest, task))
        return await asyncio.shield(checking)

    def _end_check(self, digest: bytes, task: asyncio.Task[Caller]) -> None:
        self._checking.pop(digest, None)
        if not task.cancelled():
            task.exception()  # its requests may have been cancelled

    async def _check(self, credential: bytes, digest: bytes, address: str) -> Caller:
        """Check a credential when it is its turn, unless too many were refused by then."""
        generation = self.generation
        try:
            self._throttle(address)
            key = await self._verifier.prepare(credential)
            async with self._turn:
                self._throttle(address)
                caller = await self._verifier.verify(credential, key)
        except RefusedCredentialError as error:
            if error.reason not in MAY_CHANGE:
                self._attempts.note_refused(address)
                if generation == self.generation:
                    self._refused.keep(digest, (error.reason, error.problem.detail))
            raise
        self._verified.keep(digest, caller)
        return caller

    def _throttle(self, address: str) -> None:
        if wait := self._attempts.find_wait(address):
            raise RefusedCredentialError("throttled", too_many_attempts(wait))

    # Changes of the keys

    async def watch(self) -> None:
        """Read the keys again when they change, until cancelled."""
        # Apart from each other: a provider that does not answer must not delay that an API key is revoked.
        await asyncio.gather(self._repeat(self.look_at_keys), self._repeat(self.look_at_provider))

    async def _repeat(self, look: Callable[[], Awaitable[None]]) -> NoReturn:
        while True:
            try:
                await look()
            except Exception:  # noqa: BLE001  they are looked at again
                _log.exception("the keys could not be checked")
            await asyncio.sleep(WATCH_SECONDS)

    async def look_at_keys(self) -> None:
        """Read the API keys again if their file has changed."""
        ring = self._verifier.ring
        if ring is not None and await asyncio.to_thread(ring.has_changed):
            try:
                await asyncio.to_thread(ring.reload)
            except ChurnError as error:
                self._report("API keys", error)
            else:
                self._follow("API keys", f"{len(ring)} keys")

    async def look_at_provider(self) -> None:
        """Read the identity provider's keys again if it is time."""
        source = self._verifier.source
        if source is not None and await asyncio.to_thread(source.is_due):
            try:
                await self._verifier.refresh()
            except ChurnError as error:
                self._report("identity provider's keys", error)

    def _report(self, what: str, error: ChurnError) -> None:
        self._metrics.count_reload("failed")
        _log.error("the %s were not read again, those read before remain in force: %s", what, error)
        self._audit.record("keys reload failed", keys=what, reason=str(error))

    def _follow(self, what: str, content: str) -> None:
        """Forget what no longer holds after keys have changed."""
        self.generation += 1
        self._verified.review(self._verifier.review)
        self._refused.review(lambda _: None)
        self._metrics.count_reload("ok")
        self._audit.record("keys reloaded", keys=what, content=content)


def name_client(client: Client) -> str:
    """Return the address of a client; empty on a Unix socket."""
    return client[0] if client else ""
