"""A service of two workers, read as Prometheus reads it."""

from __future__ import annotations

import http.client

from waiting import DEADLINE

WORKERS = 2


def scrape(port: int) -> dict[str, float]:
    """Return each series' value."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
