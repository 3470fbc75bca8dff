"""Who has sent a request, as records have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.guard.caller import CALLER
from service.observe.access_log import REQUEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.guard.caller import Caller


def find_sender(scope: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the identifier of an ASGI request, and the name of its key; None if it had none."""
    caller: Caller | None = scope.get(CALLER)
    return scope[REQUEST], None if caller is None else caller.name
