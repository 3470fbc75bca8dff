"""Settings that are read again while the service runs (SIGHUP)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service.settings import PREFIX

if TYPE_CHECKING:
    from service.settings import Settings

START_ONLY = frozenset({
    "models", "model_version", "shadow_version", "canary_version", "canary_share", "trusted_keys",
    "management_port", "management_host", "admin", "metrics",
    "auth", "api_keys", "audit_log", "requests_per_second", "customers_per_second",
    "jwks", "jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_leeway_seconds", "jwt_scope_prefix",
    "drain_seconds", "worker_answer_seconds", "worker_start_seconds", "log_format", "log_level",
})  # fmt: skip
"""Settings that the supervisor uses, too, which runs on when its workers are replaced. Files of keys are read again
anyway when they change."""

_log = logging.getLogger(__name__)


def renew(started: Settings, found: Settings) -> Settings:
    """Return the settings for new workers: those that were found, but those of the supervisor as it was started.

    A warning names each setting that has changed and needs a restart of the service.
    """
    changed = [name for name in type(found).model_fields if getattr(started, name) != getattr(found, name)]
    for name in changed:
        if name in START_ONLY:
            _log.warning("%s%s has changed; restart the service to apply the change", PREFIX, name.upper())
    if taken := [f"{PREFIX}{name.upper()}" for name in changed if name not in START_ONLY]:
        _log.info("settings that have changed since the start: %s", ", ".join(taken))
    return found.model_copy(update={name: getattr(started, name) for name in START_ONLY})
