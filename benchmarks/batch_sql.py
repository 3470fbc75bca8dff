"""Score customers from one PostgreSQL database into another, once uninterrupted, once killed and resumed.

``python benchmarks/batch_sql.py --rows 1000000``. Starts a separate PostgreSQL server, fills a table with simulated
customers, of whom one in a thousand can't be scored, and runs `churn score` on it: once uninterrupted, and once killed
with SIGKILL when half of the rows are committed, and resumed. Every customer must then be in exactly one of the two
tables, with the score of the uninterrupted run. A further run is recorded (``--records``), with the hashes of the rows
read and written; so are the killed job and its resumption, which must have the same hashes. The floor copies the same
customers out and the same scores in with the same two COPY statements, without any scoring.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from postgresql import run_postgresql, why_not  # noqa: E402  the server of the tests

from churn.database import open_database  # noqa: E402
from training.simulate import simulate_chunks  # noqa: E402

COLUMNS = """"CustomerId" bigint PRIMARY KEY, "Surname" text, "CreditScore" integer, "Geography" text, "Gender" text,
    "Age" integer, "Tenure" integer, "Balance" double precision, "NumOfProducts" integer, "HasCrCard" integer,
    "IsActiveMember" integer, "EstimatedSalary" double precision"""
BAD = 'UPDATE customers SET "Age" = NULL WHERE mod("CustomerId", 1000) = 0'
COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "score"]


def ask(url: str, statement: str) -> Any:  # noqa: ANN401  one value
    """Return the first value of the first row of a statement."""
    with open_database(url).engine.connect() as connection:
        return connection.execute(sa.text(statement)).scalar_one()


def fill(url: str, rows: int) -> None:
    """Create the table of customers."""
    with open_database(url).engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE customers ({COLUMNS})")
        names = connection.exec_driver_sql("SELECT * FROM customers").keys()
        driver: Any = connection.connection
        for chunk in simulate_chunks(rows, 0):
            batch = pa.table({name: chunk[name] for name in names})
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, csv.WriteOptions(include_header=False))
            with driver.cursor() as cursor, cursor.copy("COPY customers FROM STDIN (FORMAT csv)") as copy:
                copy.write(memoryview(sink.getvalue()))
        connection.exec_driver_sql(BAD)
    with open_database(url).engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM FULL ANALYZE customers")


def start(models: Path, source: str, target: str, table: str, *more: str) -> subprocess.Popen[bytes]:
    """Start the command."""
    command = [*COMMAND, "--sql", "SELECT * FROM customers", "--url", source, "--target-url", target, "--table", table]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    return subprocess.Popen([*command, "--models", str(models), *more], env=environment)  # noqa: S603  our own code


def run(*arguments: Any) -> float:  # noqa: ANN401  those of `start`
    """Run the command and return its duration in seconds."""
    began = time.perf_counter()
    process = start(*arguments)
    if process.wait():
        sys.exit("the command failed")
    return time.perf_counter() - began


def kill_half_way(models: Path, source: str, target: str, table: str, rows: int, *more: str) -> int:
    """Kill the command when it has committed half of the rows; return the number committed."""
    process = start(models, source, target, table, *more)
    while process.poll() is None:
        time.sleep(0.02)
        try:
            done = json.loads(ask(target, f"SELECT state FROM {table}__progress"))["rows"]  # noqa: S608
        except Exception:  # noqa: BLE001, S112  the table does not exist yet
            continue
        if done >= rows // 2:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return int(done)
    sys.exit("the command ended before it was killed; use more rows")


def copy_floor(source: str, target: str, table: str) -> float:
    """Return the seconds for only reading the customers and writing the scores."""
    began = time.perf_counter()
    with open_database(source).engine.connect() as connection:
        driver: Any = connection.connection
        with (
            driver.cursor() as cursor,
            cursor.copy('COPY (SELECT * FROM customers ORDER BY "CustomerId") TO STDOUT (FORMAT csv)') as copy,
        ):
            for _ in copy:
                pass
    reading = time.perf_counter() - began
    with open_database(target).engine.begin() as connection:
        driver = connection.connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT (FORMAT csv)") as copy:
            written = b"".join(copy)
        connection.exec_driver_sql(f"CREATE TABLE floor (LIKE {table})")
        began = time.perf_counter()
        with driver.cursor() as cursor, cursor.copy("COPY floor FROM STDIN (FORMAT csv)") as copy:
            copy.write(written)
    return reading + time.perf_counter() - began


def main() -> None:
    """Measure, check and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="customers")
    parser.add_argument("--models", type=Path, default=HERE.parent / "models", help="folder of the models")
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    rows, models = options.rows, options.models
    with run_postgresql() as server, tempfile.TemporaryDirectory() as folder:
        with open_database(server).engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in ("warehouse", "campaign"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        source, target = (server.replace("/postgres?", f"/{name}?") for name in ("warehouse", "campaign"))
        fill(source, rows)
        summary = Path(folder, "summary.json")
        whole = run(models, source, target, "whole", "--summary", str(summary))
        seconds = json.loads(summary.read_text())["seconds"]
        recording = ("--records", f"sqlite:///{Path(folder, 'records.db')}")
        run(models, source, target, "recorded", "--summary", str(summary), *recording)
        hashed = json.loads(summary.read_text())
        floor = copy_floor(source, target, "whole")
        killed_at = kill_half_way(models, source, target, "killed", rows, *recording)
        visible = ask(target, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'killed'")
        resumed = run(models, source, target, "killed", "--resume", "--summary", str(summary), *recording)
        told = json.loads(summary.read_text())
        checks = {
            "visible under its final name when killed": visible,
            "customers": ask(source, "SELECT count(*) FROM customers"),
            "scored": ask(target, "SELECT count(*) FROM killed"),
            "scored, different customers": ask(target, 'SELECT count(DISTINCT "CustomerId") FROM killed'),
            "rejected": ask(target, "SELECT count(*) FROM killed_rejects"),
            "in both tables": ask(
                target, 'SELECT count(*) FROM killed JOIN killed_rejects ON identifier = "CustomerId"::text'
            ),
            "different from the uninterrupted run": ask(
                target,
                "SELECT count(*) FROM ((TABLE whole EXCEPT TABLE killed) UNION (TABLE killed EXCEPT TABLE whole)) d",
            ),
            "hashes that differ from those of the recorded run": sum(
                hashed[part] != told[part] for part in ("input_rows", "output_rows", "rejects_rows")
            ),
        }
    print(f"uninterrupted: {rows:,} customers in {whole:.1f} s including the start; the job {seconds:.1f} s, ", end="")
    print(f"{rows / seconds:,.0f} per second, {seconds / floor:.2f} times the floor ({floor:.1f} s)")
    print(f"recorded, with hashes of what is read and written: the job {hashed['seconds']:.1f} s")
    print(f"killed when {killed_at:,} were committed; resumed at {told['resumed_at_row']:,}, {resumed:.1f} s")
    for name, count in checks.items():
        print(f"  {name}: {count:,}")
    right = (
        checks["scored"] == checks["scored, different customers"] == told["scored"]
        and checks["scored"] + checks["rejected"] == checks["customers"] == rows
        and not checks["in both tables"] + checks["different from the uninterrupted run"] + visible
        and not checks["hashes that differ from those of the recorded run"]
    )
    sys.exit(None if right else "a row is missing, duplicated or different")


if __name__ == "__main__":
    main()
