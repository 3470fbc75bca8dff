#!/usr/bin/env bash
# Importing onnxruntime on Linux is enough for it to connect to mobile.events.data.microsoft.com and to write an
# identifier of the machine, no session needed; onnxruntime.disable_telemetry_events() prevents neither, as it can only
# be called after the import. ORT_DISABLE_TELEMETRY=1, set before the import, prevents both; empty or 0 does not.
# Nothing is sent here: the connection goes to a proxy of this script, which notes it and hangs up.
# Seen: CONNECT mobile.events.data.microsoft.com:443 within seconds; files ~/.cache/Microsoft/DeveloperTools/
# .onnxruntime/deviceid and onnxruntime.db, $TMPDIR/.ses. 1.28.0 does none of it. A CI job does not see it: with a
# variable such as CI in the environment the library keeps quiet of its own accord.
# Hurts: services in networks where an unexpected outgoing connection is an incident; read-only or shared homes.
# Versions: onnxruntime 1.32.0 (1.29 and later), Python 3.11, x86-64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path

PROGRAM = "import onnxruntime as o; o.disable_telemetry_events(); print(o.__version__, flush=True); input()"
listener = socket.create_server(("127.0.0.1", 0))
proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
connections: queue.Queue[str] = queue.Queue()


def hang_up() -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connections.put(connection.recv(4096).split(b"\r\n")[0].decode())


def run(name: str, seconds: float, **variables: str) -> tuple[set[str], str | None]:
    home = Path(sys.argv[1], name)
    home.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(home), "https_proxy": proxy, **variables}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdin=subprocess.PIPE) as process:
        try:
            asked = connections.get(timeout=seconds)
        except queue.Empty:
            asked = None
        process.communicate(b"\n")
    while not connections.empty():
        connections.get()
    return {path.name for path in home.rglob("*") if path.is_file()}, asked


threading.Thread(target=hang_up, daemon=True).start()
seen = {
    "nothing set": run("plain", 120),
    "ORT_DISABLE_TELEMETRY=0": run("zero", 120, ORT_DISABLE_TELEMETRY="0"),
    "ORT_DISABLE_TELEMETRY=1": run("one", 20, ORT_DISABLE_TELEMETRY="1"),
}
for name, (files, asked) in seen.items():
    print(f"{name}: files {sorted(files)}, connection {asked}")
quiet = (set(), None)
for name, found in seen.items():
    if name.endswith("=1"):
        assert found == quiet, "the behaviour has changed"
    else:
        assert {"deviceid", ".ses"} <= found[0], "the behaviour has changed"
        assert found[1] == "CONNECT mobile.events.data.microsoft.com:443 HTTP/1.1", "the behaviour has changed"
PYTHON
