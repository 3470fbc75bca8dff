"""The limits of a connection, from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.wire.reading import Limits

if TYPE_CHECKING:
    from service.settings import Settings


def limit_connections(settings: Settings) -> Limits:
    """Return the limits of each connection."""
    return Limits(
        head=settings.head_seconds,
        send=settings.send_seconds,
        head_bytes=settings.max_head_bytes,
        url_bytes=settings.max_url_bytes,
        field_bytes=settings.max_field_bytes,
        fields=settings.max_head_fields,
        pipelined=settings.max_pipelined,
        unread_bytes=settings.max_unread_bytes,
    )
