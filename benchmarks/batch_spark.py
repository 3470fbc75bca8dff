"""Measure Spark on one and two cores of this machine: time, CPU utilisation, and equality of the scores.

``python benchmarks/batch_spark.py --rows 1000000``. Simulated customers are scored with ``churn score --spark
local[N]``. The CPU time of all threads (JVM and Python workers) is read from /proc every fifth of a second, together
with the time that they waited for a core, which they would have used on an idle machine. The scores are compared row
by row with those of one process without Spark, which is timed as well. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from batch.chunk import score_rows  # noqa: E402
from churn.registry import Registry  # noqa: E402
from churn.scorer import load_scorer  # noqa: E402
from churn.tables.rows import Rows  # noqa: E402
from training.simulate import write_simulated  # noqa: E402

EVERY = 0.2
BUSY = 0.9
"""Fraction of the cores above which all cores count as busy."""

Moment = tuple[float, float, float]


def take_moment(session: int, spent: dict[str, tuple[int, int]], workers: dict[str, float]) -> Moment:
    """Return the time, and the seconds that all threads of a session have run and waited for a core so far.

    The seconds that each Python worker has run are stored in `workers`.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) != session:
                continue
            for thread in (process / "task").iterdir():
                ran, waited, _ = (thread / "schedstat").read_text().split()
                spent[thread.name] = int(ran), int(waited)
            if b"pyspark.daemon" in (process / "cmdline").read_bytes():
                threads = [thread.name for thread in (process / "task").iterdir()]
                workers[process.name] = sum(spent.get(name, (0, 0))[0] for name in threads) / 1e9
        except OSError:  # it has just ended; its time remains counted
            continue
    ran, waited = map(sum, zip(*spent.values(), strict=True))
    return time.perf_counter(), ran / 1e9, waited / 1e9


def run(cores: int, source: Path, output: Path, models: Path) -> tuple[dict[str, float], list[Moment], list[float]]:
    """Score with Spark; return the summary, all measurements, and the seconds that each Python worker ran."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "score", str(source), "--output", str(output)]
    summary = output.with_suffix(".json")
    command += ["--spark", f"local[{cores}]", "--models", str(models), "--summary", str(summary)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    spent: dict[str, tuple[int, int]] = {}
    workers: dict[str, float] = {}
    moments = []
    process = subprocess.Popen(  # noqa: S603  our own code
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE
    )
    while process.poll() is None:
        moments.append(take_moment(process.pid, spent, workers))
        time.sleep(EVERY)
    if process.returncode:
        sys.exit(process.stderr.read().decode() if process.stderr else "the command failed")
    return json.loads(summary.read_text()), moments, sorted(workers.values(), reverse=True)[: cores + 1]


def main() -> None:
    """Measure, check and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="customers")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="numbers of cores to measure")
    parser.add_argument("--models", type=Path, default=HERE.parent / "models", help="folder of the models")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "customers.parquet"
        write_simulated(source, options.rows, 0)
        scorer = load_scorer(Registry(options.models).current_folder(), "onnx")
        began = time.perf_counter()
        batches = parquet.ParquetFile(source).iter_batches(65_536)
        expected = pa.Table.from_batches([score_rows(scorer, Rows(batch, len(batch))).scores for batch in batches])
        print(f"one process without Spark: {time.perf_counter() - began:.1f} s to read and score, nothing written")
        expected = expected.sort_by("CustomerId")
        for cores in options.cores:
            output = folder / f"scores{cores}"
            summary, moments, workers = run(cores, source, output, options.models)
            # The job alone, without the start of Python and of the JVM.
            job = [moment for moment in moments if moment[0] >= moments[-1][0] - summary["seconds"]]
            seconds, ran, waited = (last - first for first, last in zip(job[0], job[-1], strict=True))
            wanted = [(then[1] + then[2] - now[1] - now[2]) / (then[0] - now[0]) for now, then in pairwise(job)]
            busy = sum(rate >= BUSY * cores for rate in wanted) / len(wanted)
            same = parquet.read_table(output).sort_by("CustomerId").equals(expected)
            print(
                f"local[{cores}]: {moments[-1][0] - moments[0][0]:.1f} s, of which the job {summary['seconds']:.1f} s, "
                f"{summary['rows'] / summary['seconds']:,.0f} rows per second\n"
                f"  cores used in the job: {ran / seconds:.2f}; used or waited for: {(ran + waited) / seconds:.2f}, "
                f"and {BUSY:.0%} of {cores} or more in {busy:.0%} of the time\n"
                f"  seconds that each Python worker ran: {', '.join(f'{worker:.1f}' for worker in workers)}\n"
                f"  {summary['scored']:,} scored, {summary['rejected']:,} rejected; "
                f"scores {'the same as' if same else 'NOT those'} without Spark"
            )


if __name__ == "__main__":
    main()
