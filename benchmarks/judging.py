"""Time to judge a month of a decision store of ten million records, in SQLite and PostgreSQL.

``python benchmarks/judging.py --rows 10000000`` simulates customers who are scored every month for a year, writes the
records and the outcomes of the last month to a store in each database, and judges that month three times: the join in
the database, all measures with intervals, by version and subgroup. The records are written in bulk without chains,
since judging reads none. PostgreSQL is a server of its own, started by tests/postgresql.py. CPU seconds are those of
this process; PostgreSQL's are not among them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

import postgresql  # noqa: E402

from churn.registry import Registry  # noqa: E402
from records import times  # noqa: E402
from records.decision import Record  # noqa: E402
from records.judging.judge import Plan, judge, read_manifests  # noqa: E402
from records.store import open_store  # noqa: E402
from training.simulate import simulate  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from records.store import RecordStore

MONTHS, HORIZON = 12, 90
BLOCK_ROWS = 50_000
YEAR = 2025
REPEATS = 3
INDEXES = {
    "churn_records_customer": "(customer_id, time)",
    "churn_records_request": "(request_id)",
    "churn_records_time": "(time)",
}
COLUMNS = ("CreditScore", "Geography", "Gender", "Age", "Tenure", "Balance", "NumOfProducts", "HasCrCard",
           "IsActiveMember", "EstimatedSalary")  # fmt: skip


class Bank:
    """Simulated customers with their true probabilities of leaving."""

    def __init__(self, customers: int, seed: int = 0) -> None:
        columns = simulate(customers, seed, truth=True)
        self.names = [str(number) for number in columns["CustomerId"]]
        cells = [columns[name].tolist() for name in COLUMNS]
        rows = zip(columns["CustomerId"].tolist(), *cells, strict=True)
        self.inputs = [json.dumps(dict(zip(("CustomerId", *COLUMNS), row, strict=True))) for row in rows]
        self.probabilities = columns["TrueProbability"].round(6)

    def write_month(self, month: int) -> Iterator[list[Record]]:
        """Yield the records of a month, from 1, in blocks."""
        first, end = times.find_month(times.from_datetime(datetime(YEAR, month, 1, tzinfo=UTC)))
        moments = np.linspace(first, end, len(self.names), endpoint=False).astype(np.int64).tolist()
        digest, random = "ab" * 32, os.urandom(80 * BLOCK_ROWS)
        for start in range(0, len(self.names), BLOCK_ROWS):
            block = []
            for place, row in enumerate(range(start, min(start + BLOCK_ROWS, len(self.names)))):
                probability = float(self.probabilities[row])
                noise = random[80 * place : 80 * place + 80]
                sequence = (month - 1) * len(self.names) + row + 1
                block.append(
                    Record(1, sequence, moments[row], f"{sequence:032x}", "crm", self.names[row], self.inputs[row],
                           probability, probability > 0.5, 0.5, "1" if month < MONTHS else str(1 + row % 2), digest,
                           "onnxruntime", None, None, noise[:16], noise[16:48], noise[48:])
                )  # fmt: skip
            yield block

    def draw_outcomes(self, month: int) -> Iterator[tuple[str, int, bool]]:
        """Yield what became of the customers of a month: one row each."""
        first, end = times.find_month(times.from_datetime(datetime(YEAR, month, 1, tzinfo=UTC)))
        moments = np.linspace(first, end, len(self.names), endpoint=False).astype(np.int64)
        days = moments // (24 * times.HOUR)
        draw = np.random.default_rng(month)
        left = draw.random(len(days)) < self.probabilities
        after = np.where(left, draw.integers(0, HORIZON + 1, len(days)), HORIZON)
        yield from zip(self.names, (days + after).tolist(), left.tolist(), strict=True)


def fill(store: RecordStore, bank: Bank) -> None:
    """Write the records of all months, and the outcomes of the last one."""
    store.prepare_months(times.from_datetime(datetime(YEAR, month, 1, tzinfo=UTC)) for month in range(1, MONTHS + 1))
    with store.writing() as connection:
        chain = store.register(connection)
        for name in INDEXES:
            connection.exec_driver_sql(f"DROP INDEX {name}")
    for month in range(1, MONTHS + 1):
        with store.writing() as connection:
            for block in bank.write_month(month):
                store.insert(connection, block, chain)
        print(f"  month {month} written", flush=True)
    with store.writing() as connection:
        rows: Any = list(bank.draw_outcomes(MONTHS))
        columns = "(customer_id, day, churned, loaded)"
        if store.database.is_sqlite:
            connection.exec_driver_sql(f"INSERT INTO churn_outcomes {columns} VALUES (?, ?, ?, 0)", sorted(rows))  # noqa: S608  constants
        else:
            driver: Any = connection.connection.driver_connection
            with driver.cursor() as cursor, cursor.copy(f"COPY churn_outcomes {columns} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row((*row, 0))
    for name, columns in INDEXES.items():
        with store.writing() as connection:
            connection.exec_driver_sql(f"CREATE INDEX {name} ON churn_records {columns}")
    with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def measure(store: RecordStore) -> None:
    """Judge the last month several times, and print how long it takes."""
    manifests, _ = read_manifests(Registry(Path(__file__).parents[1] / "models"))
    now = times.from_datetime(datetime(YEAR + 1, 6, 1, tzinfo=UTC))
    for _ in range(REPEATS):
        begun, busy = perf_counter(), process_time()
        judgement = judge(store, Plan(HORIZON, 1, now), manifests)
        seconds, busy = perf_counter() - begun, process_time() - busy
        (month,) = judgement["months"]
        auc = month["measures"]["roc_auc"]
        print(
            f"  {month['month']}: {month['judged']:,} of {month['customers']:,} customers judged in {seconds:.1f} s, "
            f"{busy:.1f} CPU seconds; {len(month['groups'])} groups; "
            f"AUC {auc['value']:.4f} ({auc['low']:.4f} to {auc['high']:.4f})",
            flush=True,
        )


def main() -> None:
    """Fill and judge a store in each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="for the file of SQLite, which takes 630 bytes per row")
    chosen = parser.parse_args()
    bank = Bank(-(-chosen.rows // MONTHS))
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for name in ("SQLite", "PostgreSQL"):
            if name == "SQLite":
                run(name, f"sqlite:///{folder}/records.db", bank)
            elif why_not := postgresql.why_not():
                print(f"{name} is left out: {why_not}")
            else:
                with postgresql.run_postgresql() as url:
                    run(name, url, bank)


def run(name: str, url: str, bank: Bank) -> None:
    """Fill and judge one store."""
    begun = time.monotonic()
    store = open_store(url, create=True)
    fill(store, bank)
    print(f"{name}: {MONTHS * len(bank.names):,} records, filled in {time.monotonic() - begun:.0f} s", flush=True)
    measure(store)


if __name__ == "__main__":
    main()
