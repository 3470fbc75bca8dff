"""Compare the times of refused API keys: do they tell that an id exists, or that a secret is almost right.

Three kinds of wrong keys are sent to the service's decision in random order: with an id that does not exist, with an
id that exists and a random secret, and with a secret that is right but for its last four characters. The bound on
refused credentials is off: it would stop the guesses after a few. Prints the medians, and for each pair of kinds the
statistic of the Mann-Whitney test: without a difference, abs(z) is above 2.6 in one of a hundred runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from service.errors import Problem
from service.guard.buckets import BucketFile, RateLimits
from service.guard.gate import Gate
from service.guard.key_hash import hash_secret, make_key
from service.guard.key_ring import KeyRing
from service.guard.keys_file import ApiKey, change_keys, now
from service.guard.verifier import Meters, Verifier
from service.observe.audit import AuditLog
from service.observe.metrics import Metrics

KINDS = ("unknown id", "wrong secret", "last four wrong")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10_000, help="guesses of all kinds together (default: 10,000)")
    parser.add_argument("--keys", type=int, default=20, help="keys in the file (default: 20)")
    parser.add_argument("--json", type=Path, help="also write the times, in seconds, to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        known = make_keys(path, options.keys)
        times = asyncio.run(guess(path, known, options.tries))
    print(f"{options.tries} guesses, {options.keys} keys\n")
    print("kind                   tries  median ms  interquartile range ms")
    for kind in KINDS:
        low, median, high = np.percentile(1e3 * np.array(times[kind]), [25, 50, 75])
        print(f"{kind:<21}  {len(times[kind]):>5}  {median:>9.3f}  {low:.3f} to {high:.3f}")
    print("\npair                                         difference of medians      z")
    for position, first in enumerate(KINDS):
        for second in KINDS[position + 1 :]:
            difference = 1e6 * (np.median(times[second]) - np.median(times[first]))
            z = compare(times[first], times[second])
            print(f"{f'{first}, {second}':<44}  {difference:>16.1f} µs  {z:>7.2f}")
    if options.json:
        options.json.write_text(json.dumps(times))


def make_keys(path: Path, count: int) -> list[str]:
    """Write a file of keys; return the keys."""
    found = []
    with change_keys(path) as keys:
        for number in range(count):
            parts, whole = make_key()
            keys.append(ApiKey(f"key{number}", parts.id, hash_secret(parts.secret), ("predict",), now()))
            found.append(whole)
    return found


async def guess(path: Path, known: list[str], tries: int) -> dict[str, list[float]]:
    """Return the seconds that each guess took, by kind."""
    verifier = Verifier(KeyRing(path), None, None, Meters(BucketFile(), RateLimits(None, None)))
    gate: Any = Gate(verifier, Metrics().guard, AuditLog())
    gate._throttle = lambda _address: None  # noqa: SLF001  the bound on guesses
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(20):  # warm up
        await refuse(gate, make_key()[1])
    for _ in range(-(-tries // len(KINDS))):
        right = random.choice(known)  # noqa: S311
        kinds = dict(zip(KINDS, make_guesses(right), strict=True))
        for kind in random.sample(KINDS, len(KINDS)):
            times[kind].append(await refuse(gate, kinds[kind]))
    gate.close()
    return times


def make_guesses(right: str) -> tuple[str, str, str]:
    """Return a wrong key of each kind."""
    other = make_key()[1]
    prefix, identifier, _ = right.split("_")
    # A guess that was made before is refused at once, since it is remembered; so none is made twice.
    return other, f"{prefix}_{identifier}_{other.split('_')[2]}", f"{right[:-4]}{other[-4:]}"


async def refuse(gate: Gate, key: str) -> float:
    """Return the seconds until a guess was refused."""
    scope = {"path": "/predict", "headers": [(b"x-api-key", key.encode())], "client": ("10.0.0.1", 1)}
    began = perf_counter()
    try:
        await gate.admit(scope)
    except Problem as problem:
        took = perf_counter() - began
        if problem.status == 401:
            return took
    raise SystemExit("a guess was not refused with 401")


def compare(first: list[float], second: list[float]) -> float:
    """Return the statistic z of the Mann-Whitney test, in the normal approximation."""
    both = np.concatenate([first, second])
    ranks = np.empty(len(both))
    ranks[np.argsort(both)] = np.arange(1, len(both) + 1)
    one, other = len(first), len(second)
    excess = ranks[:one].sum() - one * (one + 1) / 2 - one * other / 2
    return float(excess / np.sqrt(one * other * (one + other + 1) / 12))


if __name__ == "__main__":
    main()
