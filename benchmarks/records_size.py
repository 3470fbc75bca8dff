"""Fill a store with many records, and measure how long a customer, a request and a month take to be found.

``python benchmarks/records_size.py --records 10000000 --url sqlite:////data/size.db`` writes records of ten million
customers over twelve months as the service does, then looks for random customers and requests, and reads the
probabilities of a month. Writing takes a quarter of an hour per ten million records on two virtual CPUs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import postgresql

from records.decision import Decision
from records.find import find
from records.ledger import Ledger
from records.store import RecordStore, open_store
from records.tables import RECORDS
from records.times import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 1_767_225_600 * SECOND
"""1 January 2026."""

YEAR = 365 * 86_400 * SECOND
COMMIT = 10_000
SEARCHES = 200

CUSTOMER = {
    "CreditScore": 619, "Geography": "France", "Gender": "Female", "Age": 42, "Tenure": 2, "Balance": 0.0,
    "NumOfProducts": 1, "HasCrCard": 1, "IsActiveMember": 1, "EstimatedSalary": 101348.88,
}  # fmt: skip


def draw(count: int, seed: int) -> Iterator[list[Decision]]:
    """Draw decisions in the order of their times; each customer is scored about once."""
    generator = np.random.default_rng(seed)
    text = json.dumps(CUSTOMER)
    for first in range(0, count, COMMIT):
        size = min(COMMIT, count - first)
        names = generator.integers(0, count, size).tolist()
        scores = generator.random(size).round(6).tolist()
        yield [
            Decision(
                START + (first + number) * (YEAR // count),
                f"{seed:012x}-{first + number:x}",
                "crm",
                str(name),
                f'{{"CustomerId": {name}, {text[1:]}',
                score,
                score > 0.5,
                0.5,
                "1",
                "ab" * 32,
                "onnx",
            )
            for number, (name, score) in enumerate(zip(names, scores, strict=True))
        ]


def fill(store: RecordStore, count: int) -> None:
    """Write the records."""
    ledger = Ledger(store)
    started = time.perf_counter()
    for number, decisions in enumerate(draw(count, 0), 1):
        ledger.append(decisions)
        if number % 100 == 0:
            rate = number * COMMIT / (time.perf_counter() - started)
            sys.stderr.write(f"\r{number * COMMIT:,} records, {rate:,.0f}/s")
    ledger.close()
    sys.stderr.write("\n")
    sys.stdout.write(f"written: {count / (time.perf_counter() - started):,.0f} records/s\n")


def measure(store: RecordStore, count: int) -> None:
    """Search, and print how long it takes."""
    chooser = random.Random(0)  # noqa: S311  no secret
    for what in ("customer", "request"):
        times = []
        for _ in range(SEARCHES):
            number = chooser.randrange(count)
            wanted = {"customer": number} if what == "customer" else {"request": f"{0:012x}-{number:x}"}
            started = time.perf_counter()
            find(store, **wanted)  # type: ignore[arg-type]
            times.append((time.perf_counter() - started) * 1000)
        p50, p99 = np.percentile(times, [50, 99])
        sys.stdout.write(f"a {what} is found in {p50:.1f} ms (median), {p99:.1f} ms (99 %)\n")
    month = sa.and_(RECORDS.c.time >= START, RECORDS.c.time < START + YEAR // 12)
    started = time.perf_counter()
    with store.reading() as connection:
        rows = connection.execute(sa.select(RECORDS.c.customer_id, RECORDS.c.probability).where(month)).all()
    seconds = time.perf_counter() - started
    sys.stdout.write(f"customer and probability of the {len(rows):,} records of a month are read in {seconds:.1f} s\n")


def main() -> None:
    """Fill and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--url", help="SQLAlchemy URL of an empty store; by default a PostgreSQL of the tests' own")
    options = parser.parse_args()
    if options.url is not None:
        store = open_store(options.url, create=True)
        fill(store, options.records)
        measure(store, options.records)
        return
    with postgresql.run_postgresql(has_fsync=True) as url:
        store = open_store(url, create=True)
        fill(store, options.records)
        with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE churn_records")
        measure(store, options.records)


if __name__ == "__main__":
    main()
