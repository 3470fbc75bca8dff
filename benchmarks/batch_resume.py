"""Kill file jobs with SIGKILL at random moments, resume them, and compare the results with an uninterrupted job.

``python benchmarks/batch_resume.py --rows 1000000 --kills 10``. The command ``churn score`` scores simulated customers,
of whom one in a thousand can't be scored, from CSV to CSV, compressed CSV and Parquet in turn. It is killed a random
time after its journal has recorded a random number of rows, and resumed; every other job is killed and resumed twice.
The journal is written every twentieth of a second instead of every two seconds, so that there is progress to resume.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from training.simulate import write_simulated  # noqa: E402

COMMIT_SECONDS = 0.05
CODE = f"from batch.files import run; run.COMMIT_SECONDS = {COMMIT_SECONDS}; from cli.main import main; main()"
REPLACE = ["--if-exists", "replace"]
"""Options for a job that had finished before it was killed."""

FORMS = ("csv", "csv.gz", "parquet")


def start(source: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the command."""
    command = [sys.executable, "-c", CODE, "score", str(source), "--output", str(output), *more]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "CHURN_MODELS": str(HERE.parent / "models")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603  our own code


def kill_behind(process: subprocess.Popen[bytes], output: Path, target: float, delay: float) -> int:
    """Kill a command after its journal has recorded more rows than `target`; return the number recorded."""
    journal, rows = output.with_name(f".{output.name}.partial") / "journal.json", 0
    while process.poll() is None and rows <= target:
        time.sleep(0.002)
        with contextlib.suppress(OSError):  # it does not exist yet
            rows = json.loads(journal.read_text())["counts"]["rows"]
    time.sleep(delay)
    process.kill()
    process.wait()
    return rows


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that must succeed."""
    if process.wait():
        sys.exit(f"the command ended with {process.returncode}")


def hash_results(output: Path) -> list[str]:
    """Return the SHA-256 of scores and rejects."""
    paths = (output, output.with_name(output.name + ".rejects"))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def spoil(source: Path, target: Path) -> None:
    """Copy a CSV file with an invalid age in every thousandth line."""
    with source.open() as lines, target.open("w") as written:
        place = lines.readline().split(",").index("Age")
        lines.seek(0)
        for number, line in enumerate(lines):
            fields = line.split(",")
            if number and number % 1000 == 0:
                fields[place] = "?"
            written.write(",".join(fields))


def main() -> None:
    """Kill, resume, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="customers")
    parser.add_argument("--kills", type=int, default=10, help="number of jobs to kill")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    options = parser.parse_args()
    draw = random.Random(options.seed)  # noqa: S311  no secret
    with tempfile.TemporaryDirectory() as folder:
        source, clean = Path(folder, "customers.csv"), Path(folder, "clean.csv")
        write_simulated(clean, options.rows, 0)
        spoil(clean, source)
        whole = {}
        for form in FORMS:
            finish(start(source, output := Path(folder, f"whole.{form}")))
            whole[form] = hash_results(output)
        wrong = 0
        for number in range(options.kills):
            form = FORMS[number % len(FORMS)]
            output, summary = Path(folder, f"killed{number}.{form}"), Path(folder, "summary.json")
            killed = []
            for target in sorted(draw.uniform(0, options.rows) for _ in range(1 + number % 2)):
                process = start(source, output, "--resume")
                killed.append(kill_behind(process, output, target, draw.uniform(0, 2 * COMMIT_SECONDS)))
            is_early = not output.exists()
            finish(start(source, output, "--resume", "--summary", str(summary), *([] if is_early else REPLACE)))
            told = json.loads(summary.read_text())
            is_same = hash_results(output) == whole[form]
            wrong += not is_same
            print(
                f"{form}: killed with {' and '.join(f'{rows:,}' for rows in killed)} rows recorded, resumed at row "
                f"{told['resumed_at_row']:,} of {told['rows']:,}: {'the same bytes' if is_same else 'OTHER BYTES'}, "
                f"{told['rejected']:,} rejected",
                flush=True,
            )
    sys.exit(f"{wrong} results differ" if wrong else None)


if __name__ == "__main__":
    main()
