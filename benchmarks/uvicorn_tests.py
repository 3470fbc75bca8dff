"""Run uvicorn's HTTP tests with uvicorn's protocol and with the service's, and compare the results.

    git clone --branch 0.54.0 https://github.com/Kludex/uvicorn
    python benchmarks/uvicorn_tests.py uvicorn

Tests of WebSockets are skipped if their packages are not installed. The mock transport of the tests lacks three methods
of asyncio transports (`write_eof`, `abort`, `get_write_buffer_size`). They are added; `write_eof` counts as closing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
VARIABLE = "CHURN_TESTED_PROTOCOL"
THEIRS = "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"


def main() -> None:
    """Run the tests with both protocols."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkout", type=Path, help="checkout of uvicorn's repository")
    checkout = parser.parse_args().checkout
    failed = {name: run(checkout, name) for name in ("uvicorn", "churn")}
    for test in sorted(failed["churn"] - failed["uvicorn"]):
        sys.stdout.write(f"fails only with the service's protocol: {test}\n")
    sys.exit(bool(failed["churn"] - failed["uvicorn"]))


def run(checkout: Path, name: str) -> set[str]:
    """Run the tests with one protocol, print the summary, and return the tests that fail."""
    with tempfile.TemporaryDirectory() as folder:
        # Without uvicorn's source next to them, so that the installed version is tested.
        shutil.copytree(checkout / "tests", Path(folder, "tests"))
        options = ["-q", "-rf", "-c", os.devnull, "--rootdir", folder, "--timeout", "60", "-k", "httptools"]
        command = [
            sys.executable,
            "-m",
            "pytest",
            *options,
            "-p",
            "benchmarks.uvicorn_tests",
            str(Path("tests", "protocols", "test_http.py")),
        ]
        environment = {**os.environ, VARIABLE: name, "PYTHONPATH": str(ROOT)}
        found = subprocess.run(  # noqa: S603
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    lines = found.stdout.splitlines()
    sys.stdout.write(f"{name}: {lines[-1] if lines else found.stderr}\n")
    return set(re.findall(r"^FAILED (\S+)", found.stdout, re.MULTILINE))


def use_our_protocol() -> None:
    """Replace uvicorn's protocol by the service's in the tests."""
    import uvicorn.importer

    from service.predict.fast_connection import FastConnection
    from service.predict.fast_path import FastPath
    from service.wire.admission import Admission
    from service.wire.backlog import Backlog
    from service.wire.reading import Limits
    from service.wire.refusals import Refusals, Traffic

    class Tested(FastConnection):
        """The protocol with the parameters that the tests use."""

        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            nothing: Any = None  # no test posts to the fast path's route
            fast_path = FastPath(nothing, nothing, nothing, 0)
            refusals = Refusals(60.0, b"", lambda *_: None)
            traffic = Traffic(Backlog(Admission(60.0)), refusals, lambda _: None)
            super().__init__(fast_path, traffic, Limits(), lambda _: (b"x-request-id", b"1"), *arguments, **options)

    load = uvicorn.importer.import_from_string
    uvicorn.importer.import_from_string = lambda name: Tested if name == THEIRS else load(name)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Add the missing methods to the mock transport."""
    transport = items[0].module.MockTransport
    transport.write_eof = transport.abort = transport.close
    transport.get_write_buffer_size = lambda _: 0


if os.environ.get(VARIABLE) == "churn":
    use_our_protocol()
if __name__ == "__main__":
    main()
