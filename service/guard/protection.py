"""Which protection is in force: chosen by the settings, and required where others than this machine can connect."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from churn.errors import ChurnError
from service.errors import Problem
from service.guard.buckets import BucketFile, RateLimits
from service.guard.gate import Gate
from service.guard.jwks import KeySource
from service.guard.key_ring import KeyRing
from service.guard.scopes import find_scope
from service.guard.tokens import TokenRules
from service.guard.verifier import Meters, Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from service.observe.audit import AuditLog
    from service.observe.guard_metrics import GuardMetrics
    from service.settings import Settings


NOT_FOR_OTHER_SITES = ("admin", "records")
"""Scopes of what no page of another site may use; see `refuse_other_sites`."""


class ProtectionError(ChurnError):
    """The service would be open to others than this machine, and nobody has said that it should be."""


def is_protected(settings: Settings) -> bool:
    """Return whether requests need a credential."""
    return settings.api_keys is not None or settings.jwks is not None


def is_for_this_machine(settings: Settings) -> bool:
    """Return whether requests need no credential because only this machine can connect."""
    return not is_protected(settings) and settings.auth != "none"


def make_gate(settings: Settings, metrics: GuardMetrics, audit: AuditLog, buckets: Path | None = None) -> Gate | None:
    """Create what decides on requests; None if they need no credential.

    Parameters
    ----------
    settings : Settings
    metrics : GuardMetrics
    audit : AuditLog
    buckets : Path, optional
        File in which the workers share the rate limits; by default this process has its own.

    Raises
    ------
    KeysFileError, JwksError
        If a file of keys has faults.
    """
    if not is_protected(settings):
        return None
    ring = None if settings.api_keys is None else KeyRing(settings.api_keys)
    source, rules = _make_source(settings)
    limits = RateLimits(settings.requests_per_second, settings.customers_per_second)
    meters = Meters(BucketFile(buckets), limits)
    return Gate(Verifier(ring, source, rules, meters), metrics, audit)


def _make_source(settings: Settings) -> tuple[KeySource | None, TokenRules | None]:
    if settings.jwks is None:
        return None, None
    source = KeySource(settings.jwks)
    if not source.is_remote:
        source.read()
    rules = TokenRules(
        settings.jwt_issuer or "",
        settings.jwt_audience or "",
        settings.allowed_algorithms,
        settings.jwt_leeway_seconds,
        settings.jwt_scope_prefix,
    )
    return source, rules


def describe_protection(settings: Settings) -> tuple[int, str]:
    """Return which protection is in force, with the level of the message for the log; reads the files of keys.

    Raises
    ------
    KeysFileError, JwksError
        If a file of keys has faults.
    """
    words = []
    if settings.api_keys is not None:
        ring = KeyRing(settings.api_keys)
        expired = f", {found} of them expired" if (found := ring.count_expired()) else ""
        words.append(f"API keys from {settings.api_keys} ({len(ring)}{expired})")
    if settings.jwks is not None:
        _make_source(settings)
        words.append(f"tokens of {settings.jwt_issuer} for {settings.jwt_audience}")
    if words:
        return logging.INFO, f"authentication: {' and '.join(words)}"
    if settings.auth == "none":
        return logging.WARNING, "authentication: OFF (CHURN_AUTH=none): everybody who can connect may do everything"
    return logging.INFO, "authentication: off, since only this machine can connect"


def require_protection(settings: Settings, address: object) -> None:
    """Check that the service may listen on an address.

    Parameters
    ----------
    settings : Settings
    address : object
        What `socket.getsockname` returns; a path is that of a Unix socket, whose mode says who may connect.

    Raises
    ------
    ProtectionError
        If others than this machine can connect, requests need no credential, and that was not asked for.
    """
    if is_protected(settings) or settings.auth == "none" or is_local(address):
        return
    where = address[0] if isinstance(address, tuple) else address
    raise ProtectionError(
        f"refusing to listen on {where} without authentication: others than this machine could connect. Allowed: "
        "CHURN_API_KEYS=FILE, which `churn keys create` writes; CHURN_JWKS for the tokens of an identity provider; or "
        "CHURN_AUTH=none, if something else protects it (docs/authentication.md)"
    )


def is_local(address: object) -> bool:
    """Return whether only this machine can connect to an address."""
    if not isinstance(address, (tuple, list)):
        return True
    try:
        parsed = ip_address(str(address[0]).partition("%")[0])
    except ValueError:  # a name, of a server that is no socket: of a test
        return True
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def refuse_other_sites(scope: Mapping[str, Any]) -> Problem | None:
    """Return the problem of a request that a web page of another site may have sent; None if none can.

    For a service without keys, which a browser on this machine reaches for every page that it shows, also under a name
    of that page's (DNS rebinding). It concerns what changes something, and what is about persons.
    """
    if find_scope(scope) not in NOT_FOR_OTHER_SITES:
        return None
    sent = [(name, value.decode("latin-1").lower()) for name, value in scope["headers"] if name in (b"host", b"origin")]
    hosts = [value for name, value in sent if name == b"host"]
    origins = {value.partition("://")[2] for name, value in sent if name == b"origin"}
    # A proxy on this machine may change the host.
    if not any(map(_is_public_name, hosts)) and all(map(_is_here, origins - {*hosts})):
        return None
    detail = (
        "without keys, this is answered only to requests for an address or localhost that no page of another site has "
        "sent (Host, Origin); set CHURN_API_KEYS or CHURN_JWKS, or CHURN_AUTH=none (docs/authentication.md)"
    )
    return Problem(403, "unprotected", "The service is open to this machine only", detail)


def _is_public_name(host: str) -> bool:
    """Return whether a server of the public DNS may answer for what a Host header names."""
    name = _drop_port(host)
    return "." in name and not _is_here(host) and not _is_address(name)


def _is_here(host: str) -> bool:
    """Return whether an address is that of this machine, or a name that always means it (RFC 6761)."""
    name = _drop_port(host)
    return name == "localhost" or name.endswith(".localhost") or (_is_address(name) and is_local((name, 0)))


def _drop_port(host: str) -> str:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.removeprefix("[").removesuffix("]")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def refuse_from_elsewhere(scope: Mapping[str, Any]) -> Problem | None:
    """Return the problem of a request that has arrived on another address than this machine's own; None if it has not.

    For a service that another program runs, e.g. uvicorn, so that it does not know the address before.
    """
    if is_local(scope.get("server")):
        return None
    detail = "set CHURN_API_KEYS, CHURN_JWKS or CHURN_AUTH=none (docs/authentication.md)"
    return Problem(403, "unprotected", "The service is open to this machine only", detail)
