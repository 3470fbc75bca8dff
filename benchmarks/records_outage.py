"""Take the store away under load, and say what clients got, what was recorded, and what the metrics said.

``python benchmarks/records_outage.py`` lets a small disk get full (a tmpfs, which needs root) and stops a PostgreSQL of
the tests' own for a while, in both modes. Clients send single customers throughout. At the end the store is back, what
was put into files is loaded, and every answer must have its record.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records_kills import Clients, serve
from records_speed import read_metrics, wait_until_kept
from servers import Server, ours

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import postgresql

from churn.bundle import read_bundle
from churn.registry import Registry
from records.find import select
from records.store import open_store
from records.verify import verify
from service.api.contracts import make_example

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK = "512m"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a tmpfs on a folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "churn", folder], check=True)  # noqa: S603, S607
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S603, S607


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill the disk of a folder for the time of the block."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    try:
        yield
    finally:
        path.unlink()


def play(name: str, server: Server, customer: dict[str, Any], outage: Any, seconds: float, folder: Path) -> bool:  # noqa: ANN401
    """Play one outage, and print what happened; return whether every answer has its record."""
    with serve(server, folder / "log") as (port, _):
        clients = Clients(port, customer, 8)
        time.sleep(2)
        before = len(clients.answered), clients.refused
        with outage:
            time.sleep(seconds)
            during = len(clients.answered) - before[0], clients.refused - before[1]
            metrics = read_metrics(port)
        time.sleep(2)
        clients.stop()
        counts = wait_until_kept(port, 300)
    store = open_store(str(server.environment["CHURN_RECORDS"]))
    found = [record.request_id for part in select(store) for record in part]
    missing = clients.answered.keys() - set(found)
    faults = verify(store).faults
    told = {key.partition("churn_records_")[2]: value for key, value in metrics.items() if "churn_records_" in key}
    sys.stdout.write(
        f"{name}: {during[0]:,} answers and {during[1]:,} refusals during {seconds:g} s without the store; "
        f"{len(clients.answered):,} answers in all, {len(missing):,} without record, "
        f"{len(found) - len(set(found)):,} recorded twice, {len(faults)} faults\n"
        f"  metrics in the outage: {told}\n  at the end: {counts}\n"
    )
    sys.stdout.flush()
    return not missing and not faults and len(found) == len(set(found))


def main() -> None:
    """Play all outages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds without the store")
    options = parser.parse_args()
    schema = read_bundle(Registry(options.models).current_folder()).manifest.schema
    customer: dict[str, Any] = dict(make_example(schema))
    plain = ours("onnx", options.models)
    is_whole = True
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)

        def play_one(name: str, mode: str, url: str, outage: Any) -> None:  # noqa: ANN401  a context manager
            nonlocal is_whole
            variables = {"CHURN_RECORDS": url, "CHURN_RECORDS_MODE": mode, "CHURN_RECORDS_SPILL": str(folder / "spill")}
            server = Server(name, plain.command, {**plain.environment, **variables})
            is_whole &= play(f"{mode}, {name}", server, customer, outage, options.seconds, folder)

        for mode in ("durable", "behind"):
            if os.getuid() == 0:
                with small_disk(folder / f"disk-{mode}") as disk:
                    play_one("full disk", mode, f"sqlite:///{disk / 'records.db'}", full(disk))
            if not postgresql.why_not():
                with postgresql.run_postgresql(has_fsync=True) as url:
                    play_one("PostgreSQL stopped", mode, url, postgresql.stopped(url))
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
