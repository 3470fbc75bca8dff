"""Train on every table of a folder, and score it in three ways: `python benchmarks/three_ways.py FOLDER`.

The folder is one of `benchmarks/tables.py`. Each table is trained with `churn train --quick`, and its file, with all
its columns, is scored by `churn score`, as CSV over HTTP, and as JSON over HTTP: records of strings under the names of
the header, with `?extra=ignore&texts=parse`. The probabilities must be equal up to `TOLERANCE`, and a row that training
accepted must not be rejected. What `churn train` prints is written to the output folder. The exit code is 1 if a table
fails.

`tables.toml` may have two more keys: train (list of further options of `churn train`) and json_rows.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import subprocess
import tempfile
import tomllib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from servers import BIN, Server, launch
from tqdm import tqdm

from churn.tables.csv_file import CsvFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCE = 1.5e-6
"""Probabilities are written with six decimals; the last one may differ by one."""
PART = 500
"""Customers in one request."""
ALONE = 20
"""Customers sent one by one as well."""
TIMEOUT = 300
HEADS = ("table", "rows", "rows used", "rejected", "rejected though used", "JSON rows", "CSV over HTTP",
         "JSON, together", "JSON, alone")  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of the folder, and the folder in which its model is."""

    path: Path
    about: Mapping[str, Any]
    models: Path

    @property
    def label(self) -> str:
        """Name of the label, as the schema has it."""
        return str(self.about["label"]).strip()


def main() -> None:
    """Run all tables and print the result."""
    arguments = parse_arguments()
    known = tomllib.loads((arguments.folder / "tables.toml").read_text(encoding="utf-8"))
    names = arguments.tables.split(",") if arguments.tables else list(known)
    arguments.output.mkdir(parents=True, exist_ok=True)
    lines, has_failed = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"], False
    for name in tqdm(names, desc="tables", unit="table"):
        with tempfile.TemporaryDirectory() as folder:
            table = Table(arguments.folder / f"{name}.csv", known[name], Path(folder, "models"))
            cells = run(table, arguments.output, known[name].get("json_rows", arguments.json_rows))
        lines.append(f"| {' | '.join(cells)} |")
        tqdm.write(lines[-1])
        has_failed |= not is_right(cells)
    print("\n".join(lines))
    if has_failed:
        raise SystemExit("a way differs from churn score by more than the tolerance, or rejects what training accepted")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", help="names, separated by commas; all if omitted")
    parser.add_argument("--json-rows", type=int, default=1000, help="rows sent as JSON, from all over the table")
    parser.add_argument("--output", type=Path, default=Path("build", "three_ways"), help="folder for what is printed")
    return parser.parse_args()


def run(table: Table, output: Path, json_rows: int) -> list[str]:
    """Train, score in three ways, and return the cells of the table's row."""
    train(table, output / f"{table.path.stem}.txt")
    expected, rejected = score(table, output / f"{table.path.stem}-scores.csv")
    manifest = json.loads((table.models / "1" / "manifest.json").read_text(encoding="utf-8"))
    rows = list(read_rows(table))
    picked = np.unique(np.linspace(0, len(rows) - 1, min(json_rows, len(rows))).astype(int))
    query = "?extra=ignore&texts=parse" + ("&decimal=," if has_commas(table) else "")
    first = [rows[next(row for row in picked if not rejected[row])]]
    command = [str(BIN / "churn"), "serve", "--port", "{port}", "--models", str(table.models)]
    server = Server("churn", command, {"CHURN_LOG_LEVEL": "warning"}, path=f"/predict{query}")
    with (
        launch(server, first, output / "server.log") as running,
        closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT)) as connection,
    ):
        ways = [
            (np.arange(len(rows)), post_csv(connection, table.path.read_bytes())),
            (picked, post_together(connection, query, [rows[row] for row in picked])),
            (picked[:ALONE], [post_alone(connection, query, rows[row]) for row in picked[:ALONE]]),
        ]
    # Rows with the third value of the label are not used for training, so it says nothing of their cells.
    used = np.array([row[table.about["label"]].strip() != table.about.get("leave_out_rows") for row in rows])
    source = manifest["data"]
    refused = max(0, int((rejected & used).sum()) - int(source["rows_with_faults"]))
    differences = [compare(np.asarray(found, dtype=float), expected[which]) for which, found in ways]
    counts = (len(rows), source["rows_used"], int(rejected.sum()), refused, len(picked))
    return [table.path.stem, *(f"{count:,}" for count in counts), *(f"{one:.1e}" for one in differences)]


def is_right(cells: list[str]) -> bool:
    """Return whether nothing differs, and nothing that training accepted was rejected."""
    return cells[4] == "0" and all(float(cell) <= TOLERANCE for cell in cells[-3:])


def train(table: Table, log: Path) -> None:
    """Run `churn train --quick`; its output is written to a file."""
    command = [str(BIN / "churn"), "train", str(table.path), "--label", table.label, "--quick"]
    command += [word for column in table.about.get("drop", []) for word in ("--drop", column.strip())]
    if "leave_out_rows" in table.about:
        command += ["--drop-rows", f"{table.label}={table.about['leave_out_rows']}"]
    command += [*table.about.get("train", []), "--models", str(table.models)]
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(command, check=True, stdout=file, stderr=subprocess.STDOUT)  # noqa: S603  our own


def score(table: Table, output: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """Run `churn score`; return the probability of each row, NaN if it was rejected, and whether it was."""
    command = [str(BIN / "churn"), "score", str(table.path), "--output", str(output), "--if-exists", "replace"]
    subprocess.run([*command, "--models", str(table.models)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603  our own
    scores, rejects = pd.read_csv(output), pd.read_csv(f"{output}.rejects")
    faulty = rejects["row"].unique().astype(np.int64) - 1
    rejected = np.zeros(len(scores) + len(faulty), dtype=bool)
    rejected[faulty] = True
    probabilities = np.full(len(rejected), np.nan)
    probabilities[~rejected] = scores["probability"]
    return probabilities, rejected


def read_rows(table: Table) -> Iterator[dict[str, str]]:
    """Yield the records of the file as strings, under the names of its header as they are written."""
    with table.path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, delimiter=table.about.get("separator", ","))


def has_commas(table: Table) -> bool:
    """Return whether numbers of the file have decimal commas, which JSON must be told."""
    return "," in CsvFile(lambda: table.path.open("rb")).form.decimals.values()


def post_csv(connection: http.client.HTTPConnection, body: bytes) -> list[float]:
    """Return the probabilities of a table; NaN for rejected rows."""
    answer = post(connection, "/predict?on_error=reject", body, "text/csv").splitlines()
    return [float(row["probability"] or "nan") for row in csv.DictReader(answer)]


def post_together(connection: http.client.HTTPConnection, query: str, rows: list[dict[str, str]]) -> list[float]:
    """Return the probabilities of records sent together; those of a request with a rejected one are sent alone."""
    found: list[float] = []
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        answer = json.loads(post(connection, f"/predict{query}", json.dumps({"customers": part}).encode()))
        if "predictions" in answer:
            found += [one["probability"] for one in answer["predictions"]]
        else:
            found += [post_alone(connection, query, row) for row in part]
    return found


def post_alone(connection: http.client.HTTPConnection, query: str, row: dict[str, str]) -> float:
    """Return the probability of a record; NaN if it is rejected."""
    answer = json.loads(post(connection, f"/predict{query}", json.dumps(row).encode()))
    return float(answer.get("probability", "nan"))


def post(connection: http.client.HTTPConnection, path: str, body: bytes, kind: str = "application/json") -> str:
    """Send a request and return the body of the response."""
    connection.request("POST", path, body, {"Content-Type": kind})
    response = connection.getresponse()
    text = response.read().decode()
    if response.status not in (200, 422):
        raise RuntimeError(f"{path}: {response.status}: {text[:500]}")
    return text


def compare(found: Floats, expected: Floats) -> float:
    """Return the maximum difference; infinite if one way rejects what another one accepts."""
    if len(found) != len(expected) or (np.isnan(found) != np.isnan(expected)).any():
        return float("inf")
    return float(np.nanmax(np.abs(found - expected), initial=0.0))


if __name__ == "__main__":
    main()
