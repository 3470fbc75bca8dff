from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from record_samples import MARCH, make_decision, write

from churn.errors import TableError
from records import times
from records.chain import START, Chain, hash_personal, hash_record
from records.decision import QuestionError, Record, name_customer
from records.find import find, select
from records.judging.outcomes import find_outcomes
from records.ledger import Ledger
from records.migrate import VERSION_TABLE
from records.partitions import list_partitions
from records.removal import erase
from records.store import RecordStore, open_store
from records.tables import METADATA, RECORDS, WRITERS
from records.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


def test_migrations_make_the_tables_that_the_code_describes(store: RecordStore) -> None:
    with store.reading() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


def test_a_record_is_read_as_it_was_written(store: RecordStore) -> None:
    decision = make_decision(
        7, key=None, customer_id=None, reasons='[{"field": "Age", "points": 3.1}]', input='{"A": "ä"}'
    )
    chain = write(store, [decision])
    (record,) = find(store).records
    assert record[2:15] == decision
    assert type(record.churn) is bool
    assert (record.writer, record.sequence, record.hash) == chain
    assert record.salt is not None
    assert len(record.salt) == 16
    assert record.personal_hash == hash_personal(record.salt, None, decision.input, decision.reasons)
    assert record.hash == hash_record(START, record)


def test_records_of_one_transaction_may_lack_different_fields(store: RecordStore) -> None:
    lacks: tuple[dict[str, Any], ...] = (
        {},
        {"key": None},
        {"customer_id": None, "reasons": "[]"},
        {"read_as": "texts=parse", "churn": True},
    )
    decisions = [make_decision(number, input='{"Ort": "Köln €"}', **lack) for number, lack in enumerate(lacks)]
    write(store, decisions)
    write(store, [make_decision(number, key=None, customer_id=None) for number in range(4, 6)])
    (records,) = select(store)
    assert [record[2:15] for record in records[:4]] == decisions
    assert [(record.key, record.customer_id) for record in records[4:]] == [(None, None)] * 2
    assert {type(value) for record in records for value in record[15:]} == {bytes}


def test_decisions_of_two_hours_are_one_transaction(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(store)
    ledger.append([make_decision(0)])
    insert = RecordStore.insert

    def insert_or_fail(store: RecordStore, connection: Any, records: Any, chain: Any, **how: Any) -> None:
        insert(store, connection, records, chain, **how)
        if chain.sequence == 4:
            raise ValueError("a fault")

    monkeypatch.setattr(RecordStore, "insert", insert_or_fail)
    with pytest.raises(ValueError, match="a fault"):
        ledger.append([make_decision(59), make_decision(60), make_decision(61)])
    assert ledger.open().chain.sequence == 1
    assert len(find(store).records) == 1
    monkeypatch.undo()
    ledger.append([make_decision(59), make_decision(60), make_decision(61)])
    ledger.close()
    assert verify(store).faults == []


def test_each_hash_follows_the_one_before_it(store: RecordStore) -> None:
    chain = write(store, [make_decision(number) for number in range(3)])
    assert write(store, [make_decision(number) for number in range(3, 5)], chain).sequence == 5
    before = START
    (records,) = select(store)
    for number, record in enumerate(records, 1):
        assert record.sequence == number
        assert record.hash == hash_record(before, record)
        before = record.hash
    with store.reading() as connection:
        assert connection.execute(sa.select(WRITERS.c.sequence, WRITERS.c.hash).where(WRITERS.c.writer == 1)).all() == [
            (5, before)
        ]


def test_writers_are_numbered_without_gaps(store: RecordStore) -> None:
    with store.writing() as connection:
        assert [store.register(connection), store.register(connection)] == [Chain(1), Chain(2)]
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert store.register(connection).writer / 0
    with store.writing() as connection:
        assert store.register(connection) == Chain(3)


def test_records_are_found_by_customer_and_request_and_time(store: RecordStore) -> None:
    write(store, [make_decision(number, customer_id=str(number % 3)) for number in range(30)])
    assert [record.request_id for record in find(store, customer=2, limit=3).records] == [
        "request-29", "request-26", "request-23",
    ]  # fmt: skip
    assert find(store, customer="2").records == find(store, customer=2).records
    assert [record.time for record in find(store, request="request-4").records] == [make_decision(4).time]
    assert find(store, request="request-4", customer="2").records == []
    found = find(store, since=make_decision(5).time, until=make_decision(7).time).records
    assert [record.request_id for record in found] == ["request-6", "request-5"]
    assert find(store, customer="3") == ([], None)


def test_pages_join_without_gap_or_repetition_even_within_one_moment(store: RecordStore) -> None:
    write(store, [make_decision(number // 10, customer_id="1") for number in range(25)])
    write(store, [make_decision(number // 10, customer_id="1") for number in range(25)])
    cursor, seen = None, []
    while True:
        page = find(store, customer="1", limit=7, cursor=cursor)
        seen += [(record.time, record.writer, record.sequence) for record in page.records]
        if (cursor := page.next) is None:
            break
        assert len(page.records) == 7
    assert len(seen) == len(set(seen)) == 50
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "cursor", ["", "1-2", "1-2-x", "1-2-3-4", "1-2--3", "9" * 20 + "-1-1", "9" * 19 + "-1-1", "1-1-" + "9" * 19]
)
def test_a_cursor_that_is_none_is_refused(store: RecordStore, cursor: str) -> None:
    with pytest.raises(QuestionError, match="cursor"):
        find(store, cursor=cursor)


def test_a_question_with_what_no_database_stores_is_refused(store: RecordStore) -> None:
    halves = "\ud800", "a\udcff"
    for text in halves:
        for ask in (find, select):
            with pytest.raises(QuestionError, match="the customer"):
                list(ask(store, customer=text))
        for remove in (erase, find_outcomes):
            with pytest.raises(QuestionError, match="the customer"):
                remove(store, text)
    for text in (*halves, "\0"):
        with pytest.raises(QuestionError, match="the request"):
            find(store, request=text)
    assert find(store, customer="\0").records == []


def test_records_of_several_months_lie_in_partitions(store: RecordStore) -> None:
    month = 31 * 24 * times.HOUR
    write(store, [make_decision(time=MARCH - 1), make_decision(time=MARCH), make_decision(time=MARCH + 2 * month)])
    assert len(find(store).records) == 3
    if not store.database.is_sqlite:
        with store.reading() as connection:
            names = ["churn_records_2026_02", "churn_records_2026_03", "churn_records_2026_05"]
            assert list_partitions(connection) == names


def test_a_clock_that_jumps_creates_no_partitions_in_between(store: RecordStore) -> None:
    Ledger(store).append(
        [make_decision(0), make_decision(1, time=times.SECOND), make_decision(2, time=MARCH + 9000 * 24 * times.HOUR)]
    )
    assert len(find(store).records) == 3
    assert verify(store).faults == []
    if not store.database.is_sqlite:
        with store.reading() as connection:
            assert list_partitions(connection) == [
                "churn_records_1970_01",
                "churn_records_2026_03",
                "churn_records_2050_10",
            ]


def test_opening_again_changes_nothing(store: RecordStore, url: str) -> None:
    write(store, [make_decision()])
    assert find(open_store(url, create=True)).records == find(open_store(url)).records == find(store).records


def test_a_store_that_is_not_there_is_an_error(url: str) -> None:
    with pytest.raises(TableError, match=r"does not exist|there is no store"):
        open_store(url)


def test_a_store_of_a_newer_program_is_an_error(store: RecordStore, url: str) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for create in (True, False):
        with pytest.raises(TableError, match="schema version 9999, which this program does not support"):
            open_store(url, create=create)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("mysql+nothing://host/db", "unknown database"),
        ("sqlite://", "an SQLite file"),
        ("no url", "URL is invalid"),
    ],
)
def test_a_url_that_cannot_hold_records_is_an_error(wrong: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        open_store(wrong, create=True)


def test_nothing_remains_of_a_transaction_that_fails(store: RecordStore) -> None:
    chain = write(store, [make_decision()])
    records, chain = chain.link([make_decision(1), make_decision(2)])
    with pytest.raises(TableError), store.writing() as connection:
        store.insert(connection, [*records, records[0]], chain)
    assert [record.sequence for record in find(store).records] == [1]
    with store.reading() as connection:
        assert connection.execute(sa.select(WRITERS.c.sequence).where(WRITERS.c.writer == 1)).scalar() == 1


def test_a_value_that_the_database_cannot_store_is_no_failure_of_it(store: RecordStore) -> None:
    ledger = Ledger(store)
    ledger.append([make_decision(0)])
    if store.database.is_sqlite:
        pytest.skip("SQLite stores every text")
    bad = make_decision(1, key="a\0b")
    for decisions in ([bad], [bad, make_decision(61)]):  # of one hour, and of two
        with pytest.raises(ValueError, match="0x00"):
            ledger.append(decisions)
    ledger.append([make_decision(2)])
    ledger.close()
    assert verify(store).faults == []
    assert verify(store).records == 2


def test_fields_of_a_record_are_the_columns() -> None:
    assert Record._fields == tuple(RECORDS.columns.keys())


def test_times_are_exact() -> None:
    moment = datetime(2026, 12, 31, 23, 59, 59, 999_999, UTC)
    assert times.to_datetime(times.from_datetime(moment)) == moment
    assert times.from_datetime(moment.replace(tzinfo=None)) == times.from_datetime(moment)
    assert times.show(times.from_datetime(moment)) == "2026-12-31T23:59:59.999999Z"
    first, end = times.find_month(times.from_datetime(moment))
    assert times.show(first) == "2026-12-01T00:00:00.000000Z"
    assert times.show(end) == "2027-01-01T00:00:00.000000Z"


def test_an_identifier_is_stored_as_text() -> None:
    assert name_customer(42) == name_customer("42") == "42"
    assert name_customer("a\0b") == "a\\u0000b"
    assert name_customer(None) is None


def test_a_missing_folder_of_the_file_is_made(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'new' / 'records.db'}", create=True)
    assert (tmp_path / "new" / "records.db").is_file()


def test_a_new_file_of_records_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "records.db"
    open_store(f"sqlite:///{path}", create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    open_store(f"sqlite:///{path}", create=True)
    assert path.stat().st_mode & 0o777 == 0o640
