"""Divide a large list of customers, so that no step of parsing takes long or needs much memory."""

from __future__ import annotations

import re

from churn.names import BATCH

PART_BYTES = 256 * 1024
"""Bodies up to this size are not divided; larger ones are divided into parts of about this size."""

_TAIL = 100
"""The end of a list of customers is expected within this many bytes, which are mostly white space."""

_BEGIN = re.compile(rb'(?:\xef\xbb\xbf)?+[ \t\r\n]*+\{[ \t\r\n]*+"%b"[ \t\r\n]*+:[ \t\r\n]*+\[' % BATCH.encode())
_BETWEEN = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")


def divide(body: bytes) -> list[bytes] | None:
    """Divide the body of a request with many customers between two of them.

    Returns
    -------
    list of bytes, or None
        JSON lists of customers. If all of them are valid, they have the customers of the body in their order; otherwise
        a part may have been divided in a string, and is no JSON. None if the body has another form, or a customer is
        too large.
    """
    begin = _BEGIN.match(body)
    if begin is None or not body[-_TAIL:].translate(None, b" \t\r\n").endswith(b"]}"):
        return None
    stop = body.rindex(b"]")
    parts, first = [], begin.end()
    while stop - first > PART_BYTES:
        cut = _BETWEEN.search(body, first + PART_BYTES, min(stop, first + 2 * PART_BYTES))
        if cut is None:
            if stop - first > 2 * PART_BYTES:
                return None
            break
        parts.append(b"[%b]" % body[first : cut.start() + 1])
        first = cut.end()
    return [*parts, b"[%b]" % body[first:stop]]
