"""Compare scoring files with a naive script and with a floor that only reads and writes; measure memory over time.

``python benchmarks/batch.py --rows 1000000,10000000``. Simulated customers are written once to build/, as CSV and as
Parquet. Each method runs in a separate process, alternating with the others, and is timed from start to exit:

- churn: the command ``churn score INPUT --output OUTPUT --summary FILE``, including verification and hashes;
- floor: pyarrow streams the same file with its own threads and writes the same columns, with constant values except
  for the identifier; it scores and verifies nothing;
- naive: pandas reads the file, scikit-learn's ColumnTransformer transforms it, Keras' ``predict`` scores it, and pandas
  writes the result; once with the default batch size of ``predict`` and once with large batches. Run once each, and
  only up to ``--naive-rows``, because it loads the table into memory.

Memory is the resident set of the process, measured every twentieth of a second. Linux only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from churn.runtime.cpus import count_cpus  # noqa: E402
from training.simulate import write_simulated  # noqa: E402

EVERY = 0.05
NAMES = {
    "churn": "`churn score`",
    "floor": "the floor: pyarrow alone",
    "naive": "naive: pandas, scikit-learn, Keras",
    "naive-large": "the same, `predict(batch_size=8192)`",
}
COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "score"]
MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """Measurement of one process.

    Attributes
    ----------
    seconds : float
        From start to exit.
    memory : list of (float, float)
        Time in seconds since the start, and memory in MiB.
    """

    seconds: float
    memory: list[tuple[float, float]]

    @property
    def peak(self) -> float:
        """Peak memory in MiB."""
        return max(size for _, size in self.memory)


@dataclass
class Row:
    """Measurements of one method on one file."""

    way: str
    form: str
    rows: int
    runs: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median duration."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak(self) -> float:
        """Peak memory of all runs in MiB."""
        return max(run.peak for run in self.runs)


def measure(command: list[str]) -> Run:
    """Run and measure a command."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    memory = [(0.0, 0.0)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603  our own code
    status = Path(f"/proc/{process.pid}/statm")
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        try:
            code = process.wait(EVERY)
            break
        except subprocess.TimeoutExpired:
            memory.append((time.perf_counter() - began, int(status.read_text().split()[1]) * page / MIB))
    seconds = time.perf_counter() - began
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return Run(seconds, memory)


def build(way: str, source: Path, folder: Path) -> list[str]:
    """Return the command line of a method."""
    output = str(folder / f"{way}{source.suffix}")
    if way == "churn":
        models = str(HERE.parent / "models")
        more = ["--if-exists", "replace", "--summary", str(folder / "summary.json"), "--models", models]
        return [*COMMAND, str(source), "--output", output, *more]
    return [sys.executable, str(HERE / "batch_baselines.py"), way, str(source), output]


def make_customers(folder: Path, rows: int, form: str) -> Path:
    """Write a file of simulated customers if it does not exist."""
    path = folder / f"customers-{rows}.{form}"
    if not path.exists():
        print(f"drawing {path.name} …", file=sys.stderr)
        write_simulated(path, rows, 0)
    return path


def compare(sizes: list[int], naive_rows: int, repeats: int, build_folder: Path) -> list[Row]:
    """Run all methods on all files, alternating."""
    found = []
    with tempfile.TemporaryDirectory(dir=build_folder) as scratch:
        for rows in sizes:
            for form in ("csv", "parquet"):
                source = make_customers(build_folder, rows, form)
                ways = [Row(way, form, rows) for way in ("churn", "floor")]
                if rows <= naive_rows and form == "csv":
                    ways += [Row(way, form, rows) for way in ("naive", "naive-large")]
                for turn in range(repeats):
                    for row in ways:
                        if turn and row.way.startswith("naive"):
                            continue  # it takes minutes
                        row.runs.append(measure(build(row.way, source, Path(scratch))))
                        print(f"{row.way} {form} {rows:,}: {row.runs[-1].seconds:.2f} s", file=sys.stderr, flush=True)
                found += ways
    return found


def write_table(found: list[Row]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| customers | format | method | seconds | rows per second | times the floor | peak memory, MiB |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    floors = {(row.rows, row.form): row.seconds for row in found if row.way == "floor"}
    for row in found:
        ratio = row.seconds / floors[row.rows, row.form]
        lines.append(
            f"| {row.rows:,} | {row.form} | {NAMES[row.way]} | {row.seconds:.2f} | {row.rows / row.seconds:,.0f} "
            f"| {ratio:.2f} | {row.peak:.0f} |"
        )
    return "\n".join(lines)


def write_ratios(found: list[Row]) -> str:
    """Return how many times as long the naive methods took."""
    lines = []
    for row in found:
        if row.way.startswith("naive"):
            ours = next(o.seconds for o in found if (o.way, o.form, o.rows) == ("churn", row.form, row.rows))
            lines.append(
                f"{row.rows:,} customers, {row.form}: {NAMES[row.way]}: {row.seconds / ours:.1f} times as long"
            )
    return "\n".join(lines)


def draw_memory(path: Path, found: list[Row]) -> None:
    """Draw the memory over time of the runs with most customers."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "churn"
    rows = max(row.rows for row in found)
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for row in found:
        if row.rows == rows and row.way == "churn":
            seconds, sizes = zip(*row.runs[-1].memory, strict=True)
            axes.plot(seconds, sizes, label=row.form)
    axes.axhline(1024, color="grey", linestyle=":", linewidth=1)
    axes.text(0, 1024, "1 GiB", va="bottom", color="grey")
    axes.set(xlabel="seconds", ylabel="resident memory, MiB", ylim=(0, 1150))
    axes.set_title(f"churn score, {rows:,} customers")
    axes.legend(loc="center right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000000,10000000", help="customers, separated by commas")
    parser.add_argument(
        "--naive-rows", type=int, default=1_000_000, help="maximum number of customers for the naive methods"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each method, of which the median is reported")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build", help="folder for simulated customers")
    parser.add_argument("--plot", type=Path, help="draw the memory over time into this SVG")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    sizes = [int(rows) for rows in options.rows.split(",")]
    found = compare(sizes, options.naive_rows, options.repeats, options.folder)
    print(write_table(found))
    print()
    print(write_ratios(found))
    print(f"{count_cpus()} CPUs; load before the end: {os.getloadavg()[0]:.1f}")
    if options.plot is not None:
        draw_memory(options.plot, found)


if __name__ == "__main__":
    main()
