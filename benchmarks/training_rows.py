"""Measure a streamed training: time by stage, rows per second, memory over time, and excess loss.

``python benchmarks/training_rows.py --rows 10000000``. Simulates the table once (build/), trains on it like ``churn
train --stream``, publishes to a separate folder, checks the bundle in both engines, and evaluates the network on new
customers with known probabilities. Uses all GPUs. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from excess_loss import measure_excess_loss
from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from churn.scorer import load_scorer  # noqa: E402
from training.job import Options  # noqa: E402
from training.simulate import write_simulated  # noqa: E402
from training.streaming import job, spread  # noqa: E402
from training.streaming.settings import Streaming  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGES = {
    "infer the schema": (spread, "inspect"),
    "encode and distribute": (spread, "_spread"),
    "train on the sample": (job, "fit_on_sample"),
    "preprocess": (job, "write_records"),
    "train on all rows": (job, "fit_streamed"),
    "evaluate all rows": (job, "count"),
    "verify, report, publish": (job, "publish"),
}
EVERY = 0.5
"""Seconds between two measurements of the memory."""


class Watch:
    """Measures stages, memory and the size of the scratch folder over time."""

    def __init__(self, scratch: Path) -> None:
        self.began = time.perf_counter()
        self.stages: list[dict[str, Any]] = []
        self.moments: list[tuple[float, float]] = []
        self.scratch_bytes = 0
        self._scratch = scratch
        self._stop = threading.Event()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Measure memory and scratch folder while the block runs."""
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _look(self) -> None:
        while not self._stop.wait(EVERY):
            self.moments.append((time.perf_counter() - self.began, read_memory("VmRSS")))
            try:
                used = sum(file.stat().st_size for file in self._scratch.rglob("*") if file.is_file())
            except FileNotFoundError:
                continue
            self.scratch_bytes = max(self.scratch_bytes, used)

    def measure(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper of a function that is measured as a stage."""

        def measured(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  whatever it takes and gives
            began, spent = time.perf_counter(), time.process_time()
            answer = function(*arguments, **named)
            stage = {
                "stage": name,
                "start": round(began - self.began, 1),
                "seconds": round(time.perf_counter() - began, 1),
                "processor_seconds": round(time.process_time() - spent, 1),
                "peak_gb": round(read_memory("VmHWM"), 2),
            }
            self.stages.append(stage)
            print(f"{time.perf_counter() - self.began:8.1f} s  {stage}", flush=True)
            return answer

        return measured


def read_memory(field: str) -> float:
    """Return a field of the memory statistics of this process, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e9


def main() -> None:
    """Train, measure and check; print and draw the results."""
    options = parse_arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    source = options.data or options.output / f"customers-{options.rows}.parquet"
    if not source.exists():
        write_simulated(source, options.rows, seed=7)
    scratch = options.output / "scratch"
    scratch.mkdir(exist_ok=True)
    streaming = Streaming(epochs=options.epochs, batch_rows=options.batch_rows, scratch=scratch)
    watch = Watch(scratch)
    for name, (module, function) in STAGES.items():
        setattr(module, function, watch.measure(name, getattr(module, function)))
    split = spread.Split(0.2, streaming.validation_size, seed=0)
    with watch.watch(), spread.open_streamed(source, split, scratch=scratch) as table:
        outcome = job.train(table, options.output / "models", Options(), streaming, "benchmarks/training_rows.py")
    total = time.perf_counter() - watch.began
    result = {
        "rows": sum(table.counts.values()),
        "parts": dict(table.counts),
        "seconds": round(total, 1),
        "peak_gb": round(read_memory("VmHWM"), 2),
        "scratch_gb": round(watch.scratch_bytes / 1e9, 2),
        "passes": len(outcome.trained.fitted.result.history["loss"]),
        "history": outcome.trained.fitted.result.history,
        "test": vars_of(outcome.scores["test"]),
        "excess_loss": measure_excess_loss(outcome.trained.fitted.predict, table.sample.schema),
        "engines": check_engines(outcome.folder, table.sample.raw[:10_000]),
        "notes": list(outcome.trained.fitted.result.notes),
        "stages": watch.stages,
        "memory": [(round(moment, 1), round(used, 3)) for moment, used in watch.moments],
    }
    (options.output / f"result-{result['rows']}.json").write_text(json.dumps(result))
    print(make_table(result))
    draw(result, options.output / f"memory-{result['rows']}.svg")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="customers to simulate")
    parser.add_argument(
        "--data", type=Path, help="use this table instead; it must have the columns of simulated customers"
    )
    parser.add_argument("--epochs", type=int, help="maximum number of epochs")
    parser.add_argument("--batch-rows", type=int, default=8192, help="batch size per device")
    parser.add_argument(
        "--output", type=Path, default=HERE.parent / "build" / "streaming", help="folder for the results"
    )
    return parser.parse_args()


def vars_of(scores: Any) -> dict[str, Any]:  # noqa: ANN401  Scores
    """Return metrics as plain data."""
    return {name: getattr(scores, name) for name in ("customers", "log_loss", "roc_auc", "calibration_error")}


def check_engines(folder: Path, raw: np.ndarray[Any, Any]) -> float:
    """Load and verify the bundle in both engines; return the maximum difference of their probabilities."""
    probabilities = [load_scorer(folder, engine).score_raw(raw) for engine in ("onnx", "tensorflow")]
    return float(np.abs(probabilities[0] - probabilities[1]).max())


def make_table(result: dict[str, Any]) -> str:
    """Return stages and results as Markdown."""
    lines = ["| stage | wall, s | CPU, s | peak memory so far, GB |", "|---|---:|---:|---:|"]
    for stage in result["stages"]:
        cells = (stage["seconds"], stage["processor_seconds"], stage["peak_gb"])
        lines.append(f"| {stage['stage']} | " + " | ".join(map(str, cells)) + " |")
    training = next(stage for stage in result["stages"] if stage["stage"] == "train on all rows")
    shown = result["passes"] * result["parts"]["train"]
    speed = shown / training["seconds"], shown / training["processor_seconds"]
    lines.append(
        f"\n{result['rows']:,} rows in {result['seconds']:.0f} s; {result['passes']} epochs over "
        f"{result['parts']['train']:,} training rows: {speed[0]:,.0f} per second, {speed[1]:,.0f} per CPU second."
    )
    lines.append(f"Peak memory {result['peak_gb']} GB; scratch folder {result['scratch_gb']} GB.")
    lines.append(f"Test set: {result['test']}\nExcess loss: {result['excess_loss']}")
    lines.append(f"Engines differ by at most {result['engines']:.1e}.")
    lines += result["notes"]
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the memory over time with the stages."""
    mpl.rcParams["svg.hashsalt"] = "training_rows"
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    moments, used = zip(*result["memory"], strict=True)
    axes.plot(moments, used, color="#0072b2", linewidth=1)
    top = 1.7 * max(used)
    for number, stage in enumerate(result["stages"]):
        axes.axvspan(
            stage["start"], stage["start"] + stage["seconds"], color="#777777", alpha=0.08 + 0.1 * (number % 2)
        )
        middle = stage["start"] + stage["seconds"] / 2
        axes.text(middle, top, stage["stage"], rotation=90, ha="center", va="top", fontsize=7)
    axes.set_ylim(0, top)
    axes.set_xlabel("seconds")
    axes.set_ylabel("resident memory, GB")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
