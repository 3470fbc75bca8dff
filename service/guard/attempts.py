"""Bound on refused credentials, so that guessing keys can't use up the CPU: by client address, and for all together.

Checking a credential that is not known yet costs a slow hash. A check is made only while refused ones are within both
bounds; credentials that were verified before are not affected. The bound for all together limits the time that a worker
spends on slow hashes to a fifth of a CPU, whatever the number of addresses.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURST, RATE = 10.0, 0.5
"""Refused credentials of an address: at once, and a second."""

TOTAL_BURST, TOTAL_RATE = 50.0, 5.0
"""The same of all addresses together, in one worker."""

MAX_ADDRESSES = 4096


class Attempts:
    """Counts refused credentials.

    Parameters
    ----------
    clock : callable, optional
        Returns the time in seconds; `time.monotonic` by default.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._total = _Allowance(TOTAL_BURST, TOTAL_RATE, clock())
        self._addresses: OrderedDict[str, _Allowance] = OrderedDict()

    def find_wait(self, address: str) -> float:
        """Return for how many seconds no credential of an address is checked; 0 if one may be."""
        now = self._clock()
        own = self._addresses.get(name_network(address))
        return max(self._total.find_wait(now), 0.0 if own is None else own.find_wait(now))

    def note_refused(self, address: str) -> None:
        """Count a refused credential."""
        now, network = self._clock(), name_network(address)
        own = self._addresses.pop(network, None) or _Allowance(BURST, RATE, now)
        self._addresses[network] = own
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        for allowance in (own, self._total):
            allowance.take(now)


class _Allowance:
    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst, self._rate = burst, rate
        self._level, self._since = burst, now

    def find_wait(self, now: float) -> float:
        level = self._fill(now)
        return 0.0 if level >= 1 else (1 - level) / self._rate

    def take(self, now: float) -> None:
        self._level, self._since = self._fill(now) - 1, now

    def _fill(self, now: float) -> float:
        return min(self._burst, self._level + (now - self._since) * self._rate)


def name_network(address: str) -> str:
    """Return an address, or the network that one subscriber has: in IPv6, the first 64 bits."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return parsed.packed[:8].hex()
    return address
