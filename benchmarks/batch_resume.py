"""A job on a file killed by SIGKILL at random moments and resumed: the same bytes each time as of one that ran through.

``python benchmarks/batch_resume.py --rows 1000000 --kills 10``. The command ``churn score`` scores simulated customers,
one in a thousand of whom can't be scored, from CSV to CSV, packed CSV and Parquet by turns. It is killed at a moment
drawn from the time the whole run takes, resumed, and maybe killed again. Its journal is written every
twentieth of a second instead of every other one, so that there is something to go on with.
"""

from __future__ import annotations

import argparse
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
CODE = f"from batch import file_run; file_run.COMMIT_SECONDS = {COMMIT_SECONDS}; from cli.main import main; main()"
FORMS = ("csv", "csv.gz", "parquet")


def start(source: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the command."""
    command = [sys.executable, "-c", CODE, "score", str(source), "--output", str(output), *more]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "CHURN_MODELS": str(HERE.parent / "models")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603  our own code


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that must end well."""
    if process.wait():
        sys.exit(f"the command ended with {process.returncode}")


def hash_results(output: Path) -> list[str]:
    """Return the SHA-256 of scores and rejects."""
    paths = (output, output.with_name(output.name + ".rejects"))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def spoil(source: Path, target: Path) -> None:
    """Copy a CSV file, and blank the age in each thousandth line."""
    with source.open() as lines, target.open("w") as written:
        place = next(iter([line.split(",").index("Age") for line in [lines.readline()]]))
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
    parser.add_argument("--kills", type=int, default=10, help="moments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    draw = random.Random(options.seed)  # noqa: S311  no secret
    with tempfile.TemporaryDirectory() as folder:
        source, clean = Path(folder, "customers.csv"), Path(folder, "clean.csv")
        write_simulated(clean, options.rows, 0)
        spoil(clean, source)
        whole, seconds = {}, {}
        for form in FORMS:
            began = time.perf_counter()
            finish(start(source, output := Path(folder, f"whole.{form}")))
            whole[form], seconds[form] = hash_results(output), time.perf_counter() - began
        wrong = 0
        for number in range(options.kills):
            form = FORMS[number % len(FORMS)]
            output, summary = Path(folder, f"killed{number}.{form}"), Path(folder, "summary.json")
            moments, resumed = [], []
            while True:
                process = start(source, output, "--resume", "--summary", str(summary))
                moment = draw.uniform(0.2, 1.0) * seconds[form]
                try:
                    if moments and len(moments) >= 1 + number % 2:
                        finish(process)
                    else:
                        process.wait(moment)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    moments.append(moment)
                    if output.exists():
                        break
            told = json.loads(summary.read_text())
            resumed = told["resumed_at_row"]
            is_same = hash_results(output) == whole[form]
            wrong += not is_same
            print(
                f"{form}: killed after {', '.join(f'{moment:.2f}' for moment in moments)} s of {seconds[form]:.2f}, "
                f"resumed at row {resumed:,} of {told['rows']:,}: "
                f"{'the same bytes' if is_same else 'OTHER BYTES'}, {told['rejected']:,} rejected",
                flush=True,
            )
    sys.exit(f"{wrong} results differ" if wrong else None)


if __name__ == "__main__":
    main()
