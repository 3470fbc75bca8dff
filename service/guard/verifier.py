"""Verify API keys and tokens in threads: the event loop waits for neither a slow hash nor an identity provider."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from service.errors import Problem
from service.guard.buckets import BucketFile, Meter, RateLimits
from service.guard.caller import NEVER, Caller, RefusedCredentialError, unauthorized
from service.guard.jwks import JwksError
from service.guard.keys_file import ApiKey
from service.guard.tokens import has_form, read_key_identifier, refuse, verify_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.guard.jwks import Jwk, KeySource
    from service.guard.key_ring import KeyRing
    from service.guard.tokens import TokenRules

TOKEN_LABEL = "token:"  # noqa: S105  a label
"""Label of all callers with tokens in metrics: there may be any number of subjects. No API key has a colon."""

MAX_METERS = 10_000

NO_LIMITS = RateLimits(None, None)

MAX_WAITING = 16
"""Requests that may wait for the identity provider; others with an unknown key are refused meanwhile."""

P = ParamSpec("P")
T = TypeVar("T")


class Meters:
    """The rate limits of callers; the same object for the same caller and limits.

    Parameters
    ----------
    file : BucketFile
    defaults : RateLimits
        Of callers whose key has none.
    """

    def __init__(self, file: BucketFile, defaults: RateLimits) -> None:
        self._file = file
        self._defaults = defaults
        self._meters: OrderedDict[tuple[str, RateLimits], Meter] = OrderedDict()

    def find(self, name: str, own: RateLimits = NO_LIMITS) -> Meter | None:
        """Return the rate limits of a caller; None if it has none."""
        limits = RateLimits(own.requests or self._defaults.requests, own.customers or self._defaults.customers)
        if limits == NO_LIMITS:
            return None
        meter = self._meters.pop((name, limits), None) or Meter(self._file, name, limits)
        self._meters[name, limits] = meter
        if len(self._meters) > MAX_METERS:
            self._meters.popitem(last=False)
        return meter


class Verifier:
    """Verifies credentials.

    Parameters
    ----------
    ring : KeyRing or None
    source : KeySource or None
    rules : TokenRules or None
        None if there is no `source`.
    meters : Meters

    Attributes
    ----------
    on_rotated : callable
        Called when the identity provider's keys have changed.
    """

    def __init__(
        self, ring: KeyRing | None, source: KeySource | None, rules: TokenRules | None, meters: Meters
    ) -> None:
        self.ring = ring
        self.source = source
        self._rules = rules
        self._meters = meters
        # One thread: a slow hash occupies a CPU, and 16 MiB.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="credentials")
        self.on_rotated: Callable[[], None] = lambda: None
        self._refreshing = asyncio.Lock()
        self._waiting = 0

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, credential: bytes) -> Jwk | None:
        """Find the key that a token is signed with; may ask the identity provider. None: it is not a token.

        Raises
        ------
        RefusedCredentialError
            If there is no such key.
        """
        if self._rules is None or self.source is None or not has_form(credential):
            return None
        return await self._find_key(self.source, read_key_identifier(credential, self._rules))

    async def verify(self, credential: bytes, key: Jwk | None) -> Caller:
        """Return who has sent a credential, in a thread; `key` is what `prepare` has found.

        Raises
        ------
        RefusedCredentialError
            If it is not valid.
        """
        if key is not None:
            return await self._verify_token(credential, key)
        if self.ring is None:
            raise RefusedCredentialError("malformed", unauthorized("it is not a token; API keys are not in use"))
        found = await self._run(self.ring.verify, credential)
        caller = None if found is None else self.make_key_caller(found)
        if caller is None:
            raise RefusedCredentialError("key", unauthorized("the API key is unknown, wrong or revoked"))
        return caller

    def make_key_caller(self, key: ApiKey) -> Caller | None:
        """Return the caller with a key whose secret was verified; None if it has been revoked meanwhile."""
        current = None if self.ring is None else self.ring.find_current(key)
        if current is None:
            return None
        limits = RateLimits(current.requests_per_second, current.customers_per_second)
        expires = NEVER if current.expires is None else current.expires.timestamp()
        meter = self._meters.find(current.name, limits)
        return Caller(current.name, current.name, current.scopes, expires, current, meter)

    def review(self, caller: Caller) -> Caller | None:
        """Return what a caller is after keys have changed; None if its credential is no longer valid."""
        source = caller.source
        if isinstance(source, ApiKey):
            return self.make_key_caller(source)
        return caller if self.source is not None and self.source.has(source) else None

    async def _verify_token(self, credential: bytes, key: Jwk) -> Caller:
        assert self._rules is not None  # noqa: S101  `prepare` has found a key
        bearer = await self._run(verify_token, credential, key, self._rules)
        if self.source is None or not self.source.has(key):
            raise refuse("key", "is signed with a key that the identity provider has just withdrawn")
        meter = self._meters.find(bearer.name)
        return Caller(bearer.name, TOKEN_LABEL, bearer.scopes, bearer.expires, key, meter)

    async def _find_key(self, source: KeySource, identifier: str | None) -> Jwk:
        key = source.find(identifier)
        if key is None and self._waiting < MAX_WAITING and source.is_due(is_wanted=True):
            self._waiting += 1
            try:
                with suppress(JwksError):  # `Gate.look_at_provider` logs it
                    await self.refresh(is_wanted=True)
            finally:
                self._waiting -= 1
            key = source.find(identifier)
        if key is not None:
            return key
        if source.is_empty:
            detail = "the keys of the identity provider could not be read; the log says why"
            raise RefusedCredentialError(
                "token-provider",
                Problem(503, "no-provider-keys", "Tokens can't be verified", detail, headers={"Retry-After": "10"}),
            )
        raise refuse("key", "is signed with a key that the identity provider does not have")

    async def refresh(self, *, is_wanted: bool = False) -> bool:
        """Read the provider's keys again if they are due; return whether they have changed.

        Raises
        ------
        JwksError
            If they can't be read.
        """
        source = self.source
        if source is None:
            return False
        async with self._refreshing:
            if not await asyncio.to_thread(source.is_due, is_wanted=is_wanted):
                return False  # another request has just done it
            has_changed = await asyncio.to_thread(source.read)
        if has_changed:
            self.on_rotated()
        return has_changed

    async def _run(self, work: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
