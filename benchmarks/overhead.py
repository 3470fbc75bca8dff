"""Measure the cost of metrics, stage timings, drift counts, request identifiers and access log per single customer.

``python benchmarks/overhead.py --models models``. Two services run with one worker each and ONNX Runtime: the normal
one, and one without instrumentation. They alternate under the same load, so that load on the machine affects them
equally. Each round gives a ratio, and the median of the ratios is printed. The service without instrumentation is
this file started with ``--serve-bare``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from load import Clients, Target, has_wrk, run_wrk
from servers import BIN, HERE, Server, launch, measure_cpu, ours

from churn.bundle import read_bundle
from churn.registry import Registry
from service.api.contracts import make_example


def serve_bare(models: Path, port: int) -> None:
    """Serve without instrumentation."""
    from service.observe.recorder import Recorder
    from service.server import serve
    from service.settings import Settings

    Recorder.record_single = lambda *_: None  # type: ignore[method-assign]
    serve(Settings(models=models, engine="onnx", access_log=False, log_level="warning"), port=port)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    parser.add_argument("--rounds", type=int, default=15, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds per load")
    parser.add_argument("--serve-bare", type=int, metavar="PORT", help="serve without instrumentation")
    options = parser.parse_args()
    if options.serve_bare is not None:
        serve_bare(options.models, options.serve_bare)
        return
    customer = make_example(read_bundle(Registry(options.models).current_folder()).manifest.schema)
    command = [
        str(BIN / "python"),
        str(HERE / "overhead.py"),
        "--models",
        str(options.models),
        "--serve-bare",
        "{port}",
    ]
    servers = [ours("onnx", options.models), Server("without instruments", command, {"PYTHONPATH": str(HERE.parent)})]
    body = json.dumps(customer).encode()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = [stack.enter_context(launch(server, [customer], folder / "log")) for server in servers]
        clients = stack.enter_context(Clients(1))
        for connections in (1, 32):
            costs: list[list[float]] = [[], []]
            times: list[list[float]] = [[], []]
            for turn in range(options.rounds + 1):
                for one, cost, spent in zip(running, costs, times, strict=True):
                    target = Target(one.port, "/predict", body)
                    before = measure_cpu(one.pid)
                    if has_wrk():
                        load = run_wrk(target, connections, options.seconds)
                    else:
                        load = clients.run(target, connections, options.seconds)
                    if turn:  # the first warms
                        cost.append((measure_cpu(one.pid) - before) / load.requests * 1e6)
                        spent.append(connections / load.per_second * 1e6)
            for what, (full, bare) in (("CPU of the service", costs), ("response time", times)):
                ratio = np.array(full) / np.array(bare)
                sys.stdout.write(
                    f"connections: {connections}: {what}: {np.median(full):.1f} µs per request, {np.median(bare):.1f} "
                    f"without instrumentation: {np.median(ratio) - 1:+.1%} "
                    f"(quartiles {np.quantile(ratio, 0.25) - 1:+.1%} to {np.quantile(ratio, 0.75) - 1:+.1%})\n"
                )


if __name__ == "__main__":
    main()
