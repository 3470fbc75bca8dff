"""Look up every locked package in a database of known vulnerabilities: ``make audit``.

``python deploy/supply/audit.py PIP_AUDIT``, with the command pip-audit and its options. All versions in
requirements/*.txt are looked up, also those for other platforms. The status is not 0 if one has a known vulnerability,
if one can't be looked up, or if the database does not know `CANARY`: a mirror of an index may answer for every package
and have no vulnerabilities at all.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUIREMENTS = Path(__file__).parents[2] / "requirements"

CANARY = "jinja2==2.4.1"
"""An old version whose vulnerabilities have been in every database for years. It is not installed."""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def list_pins(folder: Path) -> list[list[str]]:
    """Return the locked versions of all files in lists that have each package at most once, as pip-audit needs it."""
    versions = defaultdict(set)
    for path in sorted(folder.glob("*.txt")):
        for name, version in _PIN.findall(path.read_text(encoding="utf-8")):
            versions[name].add(version)
    rounds = max(map(len, versions.values()), default=0)
    return [
        [f"{name}=={sorted(found)[number]}" for name, found in sorted(versions.items()) if len(found) > number]
        for number in range(rounds)
    ]


def look_up(command: Sequence[str], pins: Sequence[str]) -> list[str]:
    """Return the vulnerabilities of packages, as ``name version: identifier (fixed in: versions)``.

    Raises
    ------
    SystemExit
        If a package can't be looked up.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(pins) + "\n")
        file.flush()
        options = ("--strict", "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
        done = subprocess.run([*command, *options, "-r", file.name], capture_output=True, text=True, check=False)  # noqa: S603
    try:
        found = json.loads(done.stdout)["dependencies"]
        audited = {f"{entry['name']}=={entry['version']}" for entry in found if "vulns" in entry}
    except (KeyError, ValueError):
        reason = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
        sys.exit(f"audit failed: packages could not be looked up: {reason}")
    if missing := sorted(set(pins) - audited):
        sys.exit(f"audit failed: not looked up: {', '.join(missing)}")
    return [
        f"{entry['name']} {entry['version']}: {fault['id']} (fixed in: {', '.join(fault['fix_versions']) or 'none'})"
        for entry in found
        for fault in entry["vulns"]
    ]


def main(command: Sequence[str], folder: Path = REQUIREMENTS) -> None:
    """Run the command."""
    if not command:
        sys.exit("usage: audit.py PIP_AUDIT [OPTION ...]")
    if not look_up(command, [CANARY]):
        sys.exit(f"audit failed: the database knows no vulnerability of {CANARY}, so it can't know others")
    pins = list_pins(folder)
    faults = [fault for group in pins for fault in look_up(command, group)]
    if faults:
        sys.exit("\n".join([*faults, f"audit failed: {len(faults)} known vulnerabilities"]))
    print(f"{sum(map(len, pins))} locked packages: no known vulnerability")


if __name__ == "__main__":
    main(sys.argv[1:])
