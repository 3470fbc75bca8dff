from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from record_samples import MARCH, make_decision

from records import ledger as ledger_module
from records import removal, times
from records.chain import START
from records.find import find, select
from records.journal import append_entry, list_entries
from records.ledger import Ledger
from records.partitions import list_partitions
from records.removal import erase, prune
from records.seals import Seal, select_seals
from records.store import open_store
from records.tables import JOURNAL, OUTCOMES, RECORDS, SEALS, WRITERS
from records.verify import Verification, verify

if TYPE_CHECKING:
    from pathlib import Path

    from records.store import RecordStore

HOURS = 5
PER_HOUR = 60  # a minute apart


def fill(store: RecordStore, writers: int = 2, hours: int = HOURS) -> None:
    """Write some hours of records; the last hour of each writer is not sealed."""
    for writer in range(writers):
        ledger = Ledger(store, f"host:{writer}")
        for first in range(0, hours * PER_HOUR, 45):
            stop = min(first + 45, hours * PER_HOUR)
            ledger.append([make_decision(n, customer_id=str(n % 50), reasons="[]") for n in range(first, stop)])
        ledger.drop()


def tell(result: Verification) -> list[str]:
    return list(map(str, result.faults))


def seals(store: RecordStore) -> list[Seal]:
    with store.reading() as connection:
        return [Seal._make(row) for row in connection.execute(select_seals().order_by(SEALS.c.writer, SEALS.c.number))]


def test_an_untouched_store_verifies(store: RecordStore) -> None:
    fill(store)
    result = verify(store)
    assert tell(result) == []
    assert (result.writers, result.records, result.seals, result.erased) == (2, 600, 8, 0)
    assert [(seal.hour, seal.first, seal.last) for seal in seals(store)][:2] == [
        (MARCH, 1, 60), (MARCH + times.HOUR, 61, 120),
    ]  # fmt: skip


def test_an_empty_store_verifies(store: RecordStore) -> None:
    assert tell(verify(store)) == []


def test_closing_seals_the_rest_and_an_hour_that_is_over_is_sealed_when_idle(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(store)
    ledger.append([make_decision(0)])
    monkeypatch.setattr(ledger_module.times, "now", lambda: MARCH + times.HOUR - 1)
    ledger.seal()
    assert seals(store) == []
    monkeypatch.setattr(ledger_module.times, "now", lambda: MARCH + times.HOUR)
    ledger.seal()
    ledger.seal()
    ledger.append([make_decision(59)])
    ledger.close()
    assert [(seal.first, seal.last) for seal in seals(store)] == [(1, 1), (2, 2)]
    assert tell(verify(store)) == []


def test_a_writer_goes_on_where_a_killed_one_ended(store: RecordStore) -> None:
    first = Ledger(store, "killed")
    first.append([make_decision(number) for number in range(70)])
    first.drop()
    second = Ledger(store, writer=first.writer)
    assert second.open().chain.sequence == second.sequence == 70
    second.append([make_decision(number) for number in range(70, 130)])
    second.close()
    third = Ledger(store, writer=first.writer)
    assert third.open().is_sealed
    assert third.writer == first.writer
    assert tell(verify(store)) == []
    assert [(seal.first, seal.last) for seal in seals(store)] == [(1, 60), (61, 120), (121, 130)]


def test_a_writer_goes_on_after_an_error(store: RecordStore) -> None:
    ledger = Ledger(store)
    ledger.append([make_decision(0)])
    with pytest.raises(TypeError):
        ledger.append([make_decision(1), make_decision(2, engine=object())])
    ledger.append([make_decision(3)])
    assert ledger.sequence == 2
    assert tell(verify(store)) == []


def test_a_clock_that_is_set_back_breaks_nothing(store: RecordStore) -> None:
    ledger = Ledger(store)
    for number in (0, 61, 2, 62, 200):
        ledger.append([make_decision(number)])
    ledger.close()
    assert tell(verify(store)) == []
    assert prune(store, MARCH + times.HOUR) == 1  # the third one is old enough, but behind one that stays
    assert tell(verify(store)) == []


def execute(store: RecordStore, statement: sa.Executable) -> int:
    with store.writing() as connection:
        result: Any = connection.execute(statement)
        return int(result.rowcount)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"probability": 0.123}, "was changed"),
        ({"churn": sa.not_(RECORDS.c.churn)}, "was changed"),
        ({"threshold": 0.4}, "was changed"),
        ({"request_id": "other"}, "was changed"),
        ({"key": None}, "was changed"),
        ({"model_version": "2"}, "was changed"),
        ({"manifest_sha256": "cd" * 32}, "was changed"),
        ({"engine": "tensorflow"}, "was changed"),
        ({"read_as": "texts=parse"}, "was changed"),
        ({"time": RECORDS.c.time + 1}, "was changed"),
        ({"hash": bytes(32)}, "was changed"),
        ({"personal_hash": bytes(32)}, "was changed"),
        ({"customer_id": "7777"}, "its input, customer or reasons were changed"),
        ({"input": "{}"}, "its input, customer or reasons were changed"),
        ({"reasons": None}, "its input, customer or reasons were changed"),
        ({"salt": bytes(16)}, "its input, customer or reasons were changed"),
        ({"customer_id": None, "input": None, "reasons": None, "salt": None}, "the journal has no erasure of it"),
    ],
)
def test_a_changed_column_is_found_and_the_record_named(store: RecordStore, values: dict[str, Any], what: str) -> None:
    fill(store, writers=1, hours=2)
    chosen = sa.and_(RECORDS.c.writer == 1, RECORDS.c.sequence == 42)
    assert execute(store, sa.update(RECORDS).where(chosen).values(values)) == 1
    told = tell(verify(store))
    assert any(what in line and "writer 1, record 42 (2026-03-01T00:4" in line for line in told), told
    assert len(told) <= 3


OF_OTHER_TYPES = [
    "'x'",
    "x'00ff'",
    "0.25",
    "cast(x'ff' as text)",
    "9223372036854775807",
    "-9223372036854775808",
    "NULL",
]


@pytest.mark.parametrize("table", [RECORDS, WRITERS, SEALS, JOURNAL], ids=lambda table: table.name)
def test_no_value_ends_the_verification(tmp_path: Path, table: sa.Table) -> None:
    """SQLite keeps what it is given in a column of any type, and integers of 64 bits."""
    store = open_store(f"sqlite:///{tmp_path / 'records.db'}", create=True)
    fill(store, writers=1, hours=2)
    order = [*table.primary_key.columns][-1 if table is SEALS else 0]
    place = RECORDS.c.sequence == 42 if table is RECORDS else order == 1
    refused, missed = 0, []
    for column in table.columns:
        for value in OF_OTHER_TYPES:
            with store.database.engine.connect() as connection:
                old = connection.execute(sa.select(column).where(place)).scalar_one()
                try:
                    connection.execute(sa.update(table).where(place).values({column.name: sa.text(value)}))
                except sa.exc.IntegrityError:
                    refused += 1
                    continue
                is_other = (old, value) != (None, "NULL")
                if is_other and not verify(_View(store, connection)).faults:  # type: ignore[arg-type]
                    missed.append((column.name, value))
    assert missed == []
    assert refused < len(table.columns) * 2
    assert tell(verify(store)) == []


def test_a_value_of_another_type_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'records.db'}", create=True)
    fill(store, writers=1, hours=2)
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE churn_records SET salt = 'x' WHERE sequence = 42")
        connection.exec_driver_sql("UPDATE churn_records SET time = 1 << 62 WHERE sequence = 50")
    assert tell(verify(store)) == [
        "writer 1, record 42: its salt was changed to a value of another type",
        "writer 1, record 50: its time was changed to a value that is no time",
    ]


def test_a_gap_between_writers_is_named_however_wide(store: RecordStore) -> None:
    fill(store)
    execute(store, sa.update(WRITERS).where(WRITERS.c.writer == 2).values(writer=2**31 - 1))
    told = tell(verify(store))
    assert told[:3] == [
        "writer 2: is missing",
        f"writer 3: is missing, as are those to {2**31 - 2}",
        f"writer {2**31 - 1}: is not as the journal has it",
    ]


def test_removed_records_are_named(store: RecordStore) -> None:
    fill(store, writers=1, hours=2)
    for gone in (1, 50, 51, 52, 120):
        execute(store, sa.delete(RECORDS).where(RECORDS.c.sequence == gone))
    assert tell(verify(store)) == [
        "writer 1, record 1: is missing",
        "writer 1, record 50: is missing, as are those to 52",
        "writer 1, record 120: is missing, at the end",
    ]


def test_a_removed_writer_or_its_row_is_named(store: RecordStore) -> None:
    fill(store)
    execute(store, sa.delete(WRITERS).where(WRITERS.c.writer == 1))
    assert tell(verify(store)) == [
        "writer 1: is missing",
        "writer 1: has records, but is not among the writers",
        "writer 1: has seals, but is not among the writers",
    ]
    for table in (RECORDS, SEALS):
        execute(store, sa.delete(table).where(table.c.writer == 1))
    assert tell(verify(store)) == ["writer 1: is missing"]


def test_seals_that_were_kept_elsewhere_are_compared(store: RecordStore) -> None:
    fill(store)
    kept = seals(store)
    assert tell(verify(store, kept)) == []
    assert tell(verify(store, [kept[0]._replace(head=bytes(32)), kept[1]._replace(number=99)])) == [
        "writer 1, seal 1: is another one than was kept elsewhere",
        "writer 1, seal 99: is missing than was kept elsewhere",
    ]


def _edits(draw: random.Random) -> sa.Executable:
    """Return a random edit of the store."""
    writer, sequence = draw.randint(1, 2), draw.randint(1, HOURS * PER_HOUR)
    record = sa.and_(RECORDS.c.writer == writer, RECORDS.c.sequence == sequence)
    seal = sa.and_(SEALS.c.writer == writer, SEALS.c.number == draw.randint(1, HOURS - 1))
    entry = JOURNAL.c.number == draw.randint(1, 2)
    junk = draw.randbytes(8).hex()
    number = draw.randint(1, 10**6)
    column = draw.choice([c for c in RECORDS.c if c.name not in ("writer", "sequence")])
    value: Any = {
        sa.Text: junk, sa.Double: draw.random() + 1, sa.Boolean: sa.not_(RECORDS.c.churn),
        sa.LargeBinary: draw.randbytes(32), sa.BigInteger: RECORDS.c.time + number,
    }[type(column.type)]  # fmt: skip
    return draw.choice(
        [
            *[sa.update(RECORDS).where(record).values({column: value})] * 6,
            *[sa.delete(RECORDS).where(record)] * 3,
            sa.delete(SEALS).where(seal),
            sa.update(SEALS).where(seal).values({draw.choice(["hour", "first", "last"]): number}),
            sa.update(SEALS).where(seal).values({draw.choice(["head", "hash"]): draw.randbytes(32)}),
            sa.delete(JOURNAL).where(entry),
            sa.update(JOURNAL).where(entry).values({draw.choice(["kind", "detail"]): junk}),
            sa.update(WRITERS).where(WRITERS.c.writer == writer).values(name=junk),
            sa.update(WRITERS).where(WRITERS.c.writer == draw.randint(0, 2)).values(
                {draw.choice(["started", "sequence", "pruned", "seals"]): number}
            ),
            sa.delete(WRITERS).where(WRITERS.c.writer == draw.randint(0, 2)),
        ]
    )  # fmt: skip


def test_a_thousand_random_edits_are_all_found(tmp_path: Any) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'records.db'}", create=True)
    fill(store, hours=HOURS)
    draw = random.Random(0)  # noqa: S311  no secret
    missed = []
    for number in range(1000):
        with store.database.engine.connect() as connection:
            transaction = connection.begin()
            if draw.random() < 0.15:
                edit = "swap"
                _swap(connection, draw)
            else:
                statement = _edits(draw)
                edit = str(statement)
                assert connection.execute(statement).rowcount == 1, edit
            # Verified inside the transaction, which is then rolled back.
            store_view = _View(store, connection)
            if not verify(store_view).faults:  # type: ignore[arg-type]
                missed.append((number, edit))
            transaction.rollback()
    assert missed == []
    assert tell(verify(store)) == []


def _swap(connection: sa.Connection, draw: random.Random) -> None:
    """Let two records trade places."""
    writer = draw.randint(1, 2)
    one, other = draw.sample(range(1, HOURS * PER_HOUR + 1), 2)
    for old, new in ((one, -1), (other, one), (-1, other)):
        place = sa.and_(RECORDS.c.writer == writer, RECORDS.c.sequence == old)
        connection.execute(sa.update(RECORDS).where(place).values(sequence=new))


class _View:
    """A store as a transaction that is not committed sees it."""

    def __init__(self, store: RecordStore, connection: sa.Connection) -> None:
        self.database = store.database
        self._connection = connection

    def reading(self) -> Any:
        from contextlib import nullcontext

        return nullcontext(self._connection)


def test_an_erased_customer_is_gone_and_the_chain_verifies(store: RecordStore) -> None:
    fill(store)
    execute(store, sa.insert(OUTCOMES).values(customer_id="7", day=20_000, churned=True, loaded=1))
    assert erase(store, 7) == 12
    assert erase(store, 7) == 0
    assert find(store, customer=7).records == []
    result = verify(store)
    assert tell(result) == []
    assert (result.records, result.erased) == (600, 12)
    (first, *_), *_ = [[r for r in part if r.input is None] for part in select(store)]
    assert (first.customer_id, first.reasons, first.salt) == (None, None, None)
    assert first.probability == make_decision(7).probability
    with store.reading() as connection:
        assert connection.execute(sa.select(OUTCOMES)).all() == []
        (entry,) = list_entries(connection, "erase")
    assert '"1":[8,58,' in entry.detail


def test_text_of_an_erased_customer_is_not_in_the_file(tmp_path: Any) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'records.db'}", create=True)
    ledger = Ledger(store)
    ledger.append([make_decision(0), make_decision(1, customer_id="Zaphod", input='{"Surname": "Beeblebrox"}')])
    ledger.close()
    assert erase(store, "Zaphod") == 1
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Zaphod" not in written
    assert b"Beeblebrox" not in written
    assert b"15000000" in written


def test_old_records_are_pruned_and_their_seals_stay(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "PRUNE_ROWS", 50)
    fill(store)
    before = seals(store)
    assert prune(store, MARCH + 2 * times.HOUR) == 240
    assert seals(store) == before
    result = verify(store)
    assert tell(result) == []
    assert result.records == 360
    assert prune(store, MARCH + 2 * times.HOUR) == 0
    execute(store, sa.delete(RECORDS).where(RECORDS.c.sequence == 121))
    assert [line.partition(":")[0] for line in tell(verify(store))] == ["writer 1, record 121", "writer 2, record 121"]


def test_everything_can_be_pruned_also_what_was_not_sealed(store: RecordStore) -> None:
    fill(store)
    assert prune(store, MARCH + HOURS * times.HOUR) == 600
    result = verify(store)
    assert tell(result) == []
    assert (result.records, result.seals) == (0, 10)
    ledger = Ledger(store, writer=1)
    ledger.append([make_decision(HOURS * PER_HOUR)])
    ledger.close()
    assert tell(verify(store)) == []


def test_a_writer_that_was_idle_goes_on_after_others_have_sealed_its_records(store: RecordStore) -> None:
    ledger = Ledger(store)
    ledger.append([make_decision(0)])
    assert prune(store, MARCH + times.HOUR) == 1
    with pytest.raises(Exception, match=r"(?i)unique"):
        ledger.append([make_decision(60)])
    ledger.append([make_decision(60)])
    ledger.close()
    assert tell(verify(store)) == []


def test_months_that_were_pruned_have_no_partition(store: RecordStore) -> None:
    ledger = Ledger(store)
    month = 31 * 24 * 60
    ledger.append([make_decision(0), make_decision(month), make_decision(2 * month)])
    ledger.close()
    assert prune(store, make_decision(month + 1).time) == 2
    assert tell(verify(store)) == []
    if not store.database.is_sqlite:
        with store.reading() as connection:
            assert list_partitions(connection) == ["churn_records_2026_04", "churn_records_2026_05"]


def test_records_removed_without_the_journal_are_found(store: RecordStore) -> None:
    fill(store, writers=1)
    head = sa.select(RECORDS.c.hash).where(RECORDS.c.sequence == 60).scalar_subquery()
    execute(store, sa.update(WRITERS).where(WRITERS.c.writer == 1).values(pruned=60, pruned_hash=head))
    execute(store, sa.delete(RECORDS).where(RECORDS.c.sequence <= 60))
    assert "the journal does not have as pruned" in tell(verify(store))[0]


def test_the_journal_is_a_chain(store: RecordStore) -> None:
    with store.writing() as connection:
        for number in range(3):
            append_entry(connection, "job", {"number": number})
        entries = list_entries(connection)
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert entries[0].hash != START
    execute(store, sa.delete(JOURNAL).where(JOURNAL.c.number == 2))
    assert tell(verify(store)) == ["journal, entry 2: is missing"]
    execute(store, sa.delete(JOURNAL).where(JOURNAL.c.number == 3))
    assert "entries were removed or added" in tell(verify(store))[0]
