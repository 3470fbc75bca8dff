"""Headers that every response has, so that browsers and proxies neither guess its type nor keep a score."""

from __future__ import annotations

SAFE_FIELDS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""Of all responses; a score belongs to one caller, and an error to one request."""

SAFE_LINES = b"".join(b"%b: %b\r\n" % field for field in SAFE_FIELDS)
"""The same as a part of a response's head."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of pages: everything comes from this service, and no other page shows it in a frame. `scripts` are hashes of scripts
in the page itself; Swagger UI styles its elements."""

PAGE_FIELDS = (
    (b"content-security-policy", PAGE_POLICY.format(scripts="").encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


def add_safe_fields(headers: list[tuple[bytes, bytes]]) -> None:
    """Add the headers to those of a response, unless it has its own, and those of a page if it is one."""
    present = dict(headers)
    headers += [field for field in SAFE_FIELDS if field[0] not in present]
    if present.get(b"content-type", b"").startswith(b"text/html"):
        headers += [field for field in PAGE_FIELDS if field[0] not in present]
