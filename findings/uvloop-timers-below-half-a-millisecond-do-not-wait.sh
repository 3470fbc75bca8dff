#!/usr/bin/env bash
# A timer of less than half a millisecond does not wait on uvloop: delays are rounded to whole milliseconds, and this one
# to none. asyncio's own loop never calls back before the delay is over. A coroutine that polls with such a sleep takes
# a whole CPU, and whatever measures the process counts the polling as work.
# Seen: sleeps of 0.4 ms in 0.3 s: asyncio 236, none of less than half of it; uvloop 77,192, nearly all of less.
# Hurts: services and benchmarks that wait for less than a millisecond, such as a poll or a pause between two attempts.
# Versions: uvloop 0.23.0, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check uvloop==0.23.0
"$folder/env/bin/python" - <<'PYTHON'
import asyncio
import time

import uvloop

DELAY, SECONDS = 0.0004, 0.3


async def count_sleeps():
    """Return the number of sleeps, and that of those that ended too early."""
    number = early = 0
    end = time.perf_counter() + SECONDS
    while (begin := time.perf_counter()) < end:
        await asyncio.sleep(DELAY)
        number += 1
        early += time.perf_counter() - begin < DELAY / 2
    return number, early


found = {}
for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
    found[name] = run(count_sleeps())
    print(f"{name}: {found[name][0]} sleeps of {DELAY * 1e3:g} ms in {SECONDS:g} s, {found[name][1]} of less than half")
assert found["asyncio"][1] == 0, "the behaviour has changed"
assert found["uvloop"][1] > found["uvloop"][0] / 2, "the behaviour has changed"
PYTHON
