#!/usr/bin/env bash
# prometheus_client in multiprocess mode: a worker's file of values exists for a moment before it has a size (it is
# opened first and truncated to size afterwards). A scrape by another worker in that moment raises struct.error instead
# of leaving the file out, so /metrics is a 500 now and then while workers start or are replaced.
# Seen: an empty file beside a good one: struct.error "unpack_from requires a buffer of at least 4 bytes".
# Hurts: services that replace workers under load and alert on failed scrapes.
# Versions: prometheus_client 0.26.0, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check prometheus_client==0.26.0
mkdir "$folder/values"
PROMETHEUS_MULTIPROC_DIR="$folder/values" "$folder/env/bin/python" - <<'PYTHON'
import inspect
import os
import struct
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, generate_latest, mmap_dict
from prometheus_client.multiprocess import MultiProcessCollector

Counter("requests", "Requests.").inc()
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


def scrape():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)


source = inspect.getsource(mmap_dict.MmapedDict.__init__)
print("opened at", source.index("open("), "of __init__, given its size at", source.index("truncate("))
assert source.index("open(") < source.index("truncate("), "the behaviour has changed"
assert b"requests_total 1.0" in scrape()
(folder / "counter_1.db").touch()  # the moment between the two
try:
    scrape()
except struct.error as error:
    print("scrape:", type(error).__name__, error)
else:
    raise SystemExit("the behaviour has changed")
PYTHON
