"""Decisions for the tests of the store, and a way to write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from churn.bundle import read_bundle
from records.decision import Decision
from records.judging.join import DAY
from records.judging.judge import Plan, judge
from records.judging.outcome_file import read_outcomes
from records.judging.outcomes import load_outcomes
from records.times import SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from records.chain import Chain
    from records.judging.judgements import Judgement
    from records.store import RecordStore

MARCH = 1_772_323_200 * SECOND
"""1 March 2026, the time of the first decision."""


def make_decision(number: int = 0, **changed: Any) -> Decision:
    """Make a decision; number 0 is of 1 March 2026, and each next one a minute later."""
    fields: dict[str, Any] = {
        "time": MARCH + number * 60 * SECOND,
        "request_id": f"request-{number}",
        "key": "crm",
        "customer_id": str(15_000_000 + number),
        "input": f'{{"CustomerId": {15_000_000 + number}, "Age": {20 + number % 60}}}',
        "probability": round((number * 0.618034) % 1, 6),
        "churn": (number * 0.618034) % 1 > 0.5,
        "threshold": 0.5,
        "model_version": "1",
        "manifest_sha256": "ab" * 32,
        "engine": "onnxruntime",
        "reasons": None,
        "read_as": None,
    }
    return Decision(**{**fields, **changed})


def judge_samples(store: RecordStore, folder: Path, models: Path) -> Judgement:
    """Write 100 customers of March with outcomes and 50 of May without, and judge them by version 1 of a folder."""
    sent = {"input": '{"Geography": "Spain"}'}
    march = [make_decision(number, customer_id=str(number), **sent) for number in range(100)]
    write(store, [*march, *(make_decision(number, time=MARCH + 65 * DAY, **sent) for number in range(200, 250))])
    days = ("2026-03-09", "2026-05-08", "2026-05-08")
    rows = [f"{number},{days[number % 3]},{int(number % 3 == 0)}" for number in range(100)]
    (folder / "outcomes.csv").write_text("customer,date,left\n" + "\n".join(rows))
    load_outcomes(store, read_outcomes(folder / "outcomes.csv"))
    return judge(store, Plan(60, 12, MARCH + 100 * DAY), {"1": read_bundle(models / "1").manifest})


def write(store: RecordStore, decisions: Sequence[Decision], chain: Chain | None = None) -> Chain:
    """Write decisions as one chain, which is new by default; return its end."""
    times = [one.time for one in decisions]
    store.prepare_months(times)
    with store.writing() as connection:
        chain = store.register(connection) if chain is None else chain
        records, chain = chain.link(decisions)
        store.insert(connection, records, chain)
    return chain
