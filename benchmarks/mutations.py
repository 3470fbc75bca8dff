"""Alter a model version at random, load it, and count what is loaded with other scores, fails badly or hangs.

``python benchmarks/mutations.py --count 20000``. Half of the alterations have all hashes computed anew, as a forger
would, and half of each are of signed versions, which a trusted key must have signed. Each alteration is loaded by
ONNX Runtime (or ``--engine tensorflow``, which is much slower) in a separate process, whose memory is limited and
which is killed if it does not answer. Ends with status 1 if a bound of SECURITY.md does not hold: no other scores
from signed versions nor without new hashes, and otherwise only by the alterations that it names; no traceback, crash
or hang.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from judging import NAMED, Judge, Verdict  # noqa: E402
from variants import publish_variants  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

PATIENCE = 60.0
"""Seconds after which an alteration that is still being loaded counts as a hang; loading takes milliseconds."""

MEMORY = 8 * 2**30
"""Bytes of address space of a process, so that an alteration can't exhaust the machine."""

COLUMNS = ("refused", "same scores", "other scores", "traceback", "crash", "hang")


def work(connection: Connection, arguments: tuple[Any, ...], chosen: dict[str, Any]) -> None:
    """Judge the alterations whose numbers arrive, until None does."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    judge = Judge(*arguments, **chosen)
    connection.send(None)
    while (number := connection.recv()) is not None:
        connection.send(judge.judge(number))


class Worker:
    """A process that judges, and is replaced if it crashes or hangs."""

    def __init__(self, version: Path, other: Path, **chosen: Any) -> None:  # noqa: ANN401  options of the judge
        self._arguments = (version, other)
        self._chosen = chosen
        self._start()

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="churn-mutations-")
        self._connection, inner = multiprocessing.Pipe()
        arguments = (*self._arguments, Path(self._folder.name))
        self._process = multiprocessing.get_context("spawn").Process(target=work, args=(inner, arguments, self._chosen))
        self._process.start()
        inner.close()
        self._connection.recv()

    def judge(self, number: int) -> Verdict | str:
        """Return the verdict of an alteration, or "crash" or "hang"."""
        self._connection.send(number)
        try:
            if self._connection.poll(PATIENCE):
                verdict: Verdict = self._connection.recv()
                return verdict
            outcome = "hang"
        except EOFError:
            outcome = "crash"
        self._process.kill()
        self._process.join()
        self._folder.cleanup()
        self._start()
        return outcome

    def stop(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join()
        self._folder.cleanup()


def run(options: argparse.Namespace, version: Path, other: Path, *, signed: bool) -> Counter[tuple[bool, str, str]]:
    """Judge half of the alterations; return how many there were by hashes, kind and outcome."""
    worker = Worker(version, other, signed=signed, engine=options.engine)
    found: Counter[tuple[bool, str, str]] = Counter()
    for number in range(options.seed, options.seed + options.count // 2):
        verdict = worker.judge(number)
        if isinstance(verdict, str):
            verdict = Verdict(number % 2 == 1, "?", verdict)  # type: ignore[arg-type]
        if verdict.outcome not in COLUMNS[:3]:
            print(f"alteration {number} of {'a signed' if signed else 'an unsigned'} version: {verdict}")
        found[verdict.is_forged, verdict.kind, verdict.outcome] += 1
    worker.stop()
    return found


def list_faults(found: Counter[tuple[bool, str, str]], *, signed: bool) -> Iterator[str]:
    """Yield what does not keep the bounds."""
    for (is_forged, kind, outcome), count in found.items():
        allowed = is_forged and not signed and kind in NAMED
        if outcome in COLUMNS[3:] or (outcome == "other scores" and not allowed):
            yield f"{kind}: {outcome}: {count}"


def report(found: Counter[tuple[bool, str, str]], *, signed: bool) -> None:
    """Print a table for the versions with or without signatures."""
    print(f"\n{'signed versions' if signed else 'unsigned versions':<42}" + "".join(f"{name:>14}" for name in COLUMNS))
    for is_forged in (False, True):
        kinds = sorted({kind for forged, kind, _ in found if forged == is_forged})
        rows = [(kind, [found[is_forged, kind, outcome] for outcome in COLUMNS]) for kind in kinds]
        total = [sum(column) for column in zip(*(counts for _, counts in rows), strict=True)]
        print(
            f"{'hashes computed anew' if is_forged else 'hashes as they were':<42}"
            + "".join(f"{n:>14,}" for n in total)
        )
        # By kind only what is of interest: an alteration that is always refused needs no line.
        for kind, counts in rows:
            if counts[2:] != [0] * 4:
                print(f"  {kind:<40}" + "".join(f"{n:>14,}" for n in counts))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000, help="number of alterations")
    parser.add_argument("--seed", type=int, default=0, help="number of the first one")
    parser.add_argument("--engine", choices=["onnx", "tensorflow"], default="onnx")
    parser.add_argument("--models", type=Path, default=HERE.parent / "models" / "1", help="folder of the version")
    options = parser.parse_args()
    started = time.perf_counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="churn-mutations-") as folder:
        # The second one, as two signed versions with one number could stand for each other, which SECURITY.md says.
        _, other = publish_variants(Path(folder), options.models, [0.0, 0.5], with_keras=options.engine == "tensorflow")
        for signed in (False, True):
            found = run(options, options.models, Path(folder, str(other)), signed=signed)
            report(found, signed=signed)
            faults += list_faults(found, signed=signed)
    print(f"\n{options.count:,} alterations in {time.perf_counter() - started:.0f} s")
    if faults:
        sys.exit("not within the bounds: " + "; ".join(faults))


if __name__ == "__main__":
    main()
