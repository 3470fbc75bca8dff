#!/usr/bin/env bash
# After a callback that took long, uvloop calls the timers that have become due before it reads the sockets; asyncio's own
# loop reads first. A protocol that closes a connection when nothing has come in time then closes one whose request has
# been there all the while, and the client gets a reset instead of an answer. With asyncio's loop the same code answers.
# Seen: a reader that takes 0.3 s, a time limit of 0.1 s and a request that arrives meanwhile: asyncio "request, limit",
# uvloop "limit, request".
# Hurts: servers with time limits for idle connections, after a pause (a suspended machine, a long callback); and tests of
# such limits, which pass with asyncio's loop.
# Mend: when the time is over, set another short timer, and look then whether something has come.
# Versions: uvloop 0.23.0, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check uvloop==0.23.0
"$folder/env/bin/python" - <<'PYTHON'
import asyncio
import socket
import time

import uvloop


class Idle(asyncio.Protocol):
    """Notes what comes first: the request, or the end of the time limit."""

    def __init__(self, seen):
        self.seen = seen

    def data_received(self, data):
        self.seen.append("request")


async def note_order():
    """Return what a connection notes whose request arrives while another socket's reader takes long."""
    loop, seen = asyncio.get_running_loop(), []
    server, client = socket.socketpair()
    wakes, waker = socket.socketpair()
    transport, _ = await loop.connect_accepted_socket(lambda: Idle(seen), server)

    def take_long():
        wakes.recv(1)
        client.sendall(b"request")
        time.sleep(0.3)

    loop.add_reader(wakes, take_long)
    await asyncio.sleep(0.01)
    loop.call_later(0.1, seen.append, "limit")
    waker.send(b".")
    while len(seen) < 2:
        await asyncio.sleep(0.01)
    loop.remove_reader(wakes)
    transport.close()
    return seen


found = {}
for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
    with asyncio.Runner(loop_factory=factory) as runner:
        found[name] = runner.run(note_order())
    print(f"{name}: {', '.join(found[name])}")
assert found == {"asyncio": ["request", "limit"], "uvloop": ["limit", "request"]}, found
PYTHON
