"""Runs uvicorn's own HTTP tests against uvicorn's protocol and against the service's, and compares how many pass.

    git clone --branch 0.54.0 https://github.com/Kludex/uvicorn
    python benchmarks/uvicorn_tests.py uvicorn

Tests of WebSockets are skipped where their packages are not installed. The tests' transport lacks three methods that
every asyncio transport has (`write_eof`, `abort`, `get_write_buffer_size`); they are added, and ending the connection's
half counts as closing it there.
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
        # Without the checkout's own uvicorn beside them, so that the installed one is tested.
        shutil.copytree(checkout / "tests", Path(folder, "tests"))
        options = ["-q", "-rf", "-c", os.devnull, "--rootdir", folder, "--timeout", "60", "-k", "httptools"]
        command = [
            sys.executable,
            "-m",
            "pytest",
            *options,
            "-p",
            "benchmarks.uvicorn_tests",
            "tests/protocols/test_http.py",
        ]
        environment = {**os.environ, VARIABLE: name, "PYTHONPATH": str(ROOT)}
        found = subprocess.run(  # noqa: S603
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    lines = found.stdout.splitlines()
    sys.stdout.write(f"{name}: {lines[-1] if lines else found.stderr}\n")
    return set(re.findall(r"^FAILED (\S+)", found.stdout, re.MULTILINE))


def use_our_protocol() -> None:
    """Let uvicorn's tests import the service's protocol where they ask for uvicorn's."""
    import uvicorn.importer

    from service.predict.fast_connection import FastConnection
    from service.predict.fast_path import FastPath
    from service.wire.reading import Limits

    class Tested(FastConnection):
        """The protocol with the parameters that the tests give it."""

        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            nothing: Any = None  # no test posts to the fast path's route
            fast_path = FastPath(nothing, nothing, nothing, 0)
            super().__init__(fast_path, Limits(), lambda _: (b"x-request-id", b"1"), *arguments, **options)

    load = uvicorn.importer.import_from_string
    uvicorn.importer.import_from_string = lambda name: Tested if name == THEIRS else load(name)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Complete the tests' transport."""
    transport = items[0].module.MockTransport
    transport.write_eof = transport.abort = transport.close
    transport.get_write_buffer_size = lambda _: 0


if os.environ.get(VARIABLE) == "churn":
    use_our_protocol()
if __name__ == "__main__":
    main()
