#!/usr/bin/env bash
# A server on uvloop accepts one connection per iteration of the event loop; asyncio's own loop accepts all that wait, up
# to the backlog. In a process whose iterations take long, connections that wait, health probes among them, are
# accepted at the rate of the iterations, however short the work for each of them is.
# Seen: 50 connections that wait before the loop runs: asyncio accepts them in 2 iterations, uvloop in 50.
# Hurts: busy services on uvloop whose clients connect again, and their health checks.
# Versions: uvloop 0.23.0, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check uvloop==0.23.0
"$folder/env/bin/python" - <<'PYTHON'
import asyncio
import socket

import uvloop

CLIENTS = 50


async def count_iterations():
    accepted = 0

    def connect():
        nonlocal accepted
        accepted += 1
        return asyncio.Protocol()

    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(CLIENTS)]
    server = await asyncio.get_running_loop().create_server(connect, sock=listener, backlog=128)
    iterations = 0
    while accepted < CLIENTS:
        await asyncio.sleep(0)
        iterations += 1
    server.close()
    for client in clients:
        client.close()
    return iterations


found = {}
for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
    found[name] = run(count_iterations())
    print(f"{name}: {CLIENTS} waiting connections accepted in {found[name]} iterations")
assert found["asyncio"] < CLIENTS / 5, "the behaviour has changed"
assert found["uvloop"] >= CLIENTS - 2, "the behaviour has changed"
PYTHON
