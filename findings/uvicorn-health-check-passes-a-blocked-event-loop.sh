#!/usr/bin/env bash
# uvicorn --workers N with --timeout-worker-healthcheck: the check is answered by a thread of the worker, so a worker
# whose event loop is blocked passes it. The worker is not replaced, whatever the timeout, while its clients wait.
# A worker that is stopped as a whole (SIGSTOP) does fail the check.
# Seen: limit of 1 s, event loop blocked for 8 s: the same worker still runs; stopped by SIGSTOP: it is replaced.
# Hurts: services that rely on the check to replace a worker that hangs in a coroutine.
# Versions: uvicorn 0.54.0, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check uvicorn==0.54.0
cat > "$folder/app.py" <<'PYTHON'
import os
import time


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/busy":
        time.sleep(8)  # blocks the event loop, as a long computation would
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
PYTHON
cd "$folder"
env/bin/python - <<'PYTHON'
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--workers", "2",
           "--timeout-worker-healthcheck", "1", "--lifespan", "off", "--no-access-log"]  # fmt: skip
server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def get(path):
    return int(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60).read())


def children():
    with open(f"/proc/{server.pid}/task/{server.pid}/children") as file:
        return {int(child) for child in file.read().split()}


try:
    for _ in range(300):
        try:
            get("/")
            break
        except OSError:
            time.sleep(0.1)
    time.sleep(2)
    before = children()
    busy = get("/busy")  # returns after the 8 s, so every check in between has passed
    after = children()
    print(f"busy worker {'still runs' if busy in after else 'was replaced'} after 8 s with a limit of 1 s")
    assert busy in after and before == after, "the behaviour has changed"
    os.kill(busy, signal.SIGSTOP)
    for _ in range(600):
        if busy not in children():
            break
        time.sleep(0.1)
    print(f"stopped worker {'still runs' if busy in children() else 'was replaced'}")
    assert busy not in children(), "the behaviour has changed"
finally:
    server.terminate()
    log = server.communicate(timeout=60)[1]
print(*[line for line in log.splitlines() if "died" in line.lower() or "health" in line.lower()], sep="\n")
PYTHON
