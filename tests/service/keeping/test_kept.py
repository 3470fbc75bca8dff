"""Whatever is answered is recorded: every form of a request, in both modes, in both databases."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from bundles import CUSTOMER, publish
from keyed import add_key
from prometheus_client import CollectorRegistry
from running import read_metrics, start
from socket_service import JSON, read, request, serving
from table_requests import ARROW, CSV, post, to_arrow
from waiting import wait_until

from churn.registry import Registry
from records.find import find
from records.priority import LOWEST, NICE
from records.store import RecordStore, open_store
from records.verify import verify
from service.keeping import behind
from service.keeping.dispatch import NO_WRITER
from service.keeping.durable import DurableDispatcher
from service.observe.record_metrics import RecordMetrics
from service.settings import Settings

if TYPE_CHECKING:
    from records.decision import Record


def named(number: int, **changed: Any) -> dict[str, Any]:
    return {"CustomerId": number, **CUSTOMER, **changed}


def list_records(store: RecordStore, count: int) -> list[Record]:
    """Return all records in their order, once there are so many."""
    wait_until(lambda: len(find(store, limit=10_000).records) >= count, "the records")
    records = find(store, limit=10_000).records
    assert len(records) == count
    return sorted(records, key=lambda record: record[:2])


def test_every_form_is_recorded_as_it_was_sent_and_answered(bank_models: Path, url: str, mode: str) -> None:
    one = json.dumps(named(1), indent=1)
    with start(bank_models, records=url, records_mode=mode) as client:
        store = open_store(url)

        def send(body: bytes | str, kind: str, query: str = "", **headers: str) -> Any:
            answer = client.post(f"/predict{query}", content=body, headers={"Content-Type": kind} | headers)
            assert answer.status_code == 200, answer.text
            return answer

        single = send(one, "application/json", **{"X-Request-ID": "my-request"}).json()
        listed = send(f'{{"customers": [{one}, {json.dumps(CUSTOMER)}]}}', "application/json").json()
        zipped = send(gzip.compress(one.encode()), "application/json", **{"Content-Encoding": "gzip"}).json()
        reasoned = send(one, "application/json", "?reasons=2").json()
        lenient = send(json.dumps(named(2, Age="42,0")), "application/json", "?texts=parse&decimal=,").json()
        table = f"{';'.join(named(3))}\n{';'.join(map(str, named(3, Balance='1.234,5', EstimatedSalary=9).values()))}\n"
        send(table, CSV, "?decimal=,")
        send(to_arrow([named(4)]), ARROW)
        tensors = [
            {"name": name, "shape": [1], "data": [value], "datatype": "BYTES" if isinstance(value, str) else "FP64"}
            for name, value in CUSTOMER.items()
        ]
        infer = client.post("/v2/models/churn/infer", json={"inputs": tensors}).json()
        records = list_records(store, 9)
    assert [record.customer_id for record in records] == ["1", "1", None, "1", "1", "2", "3", "4", None]
    assert [record.input for record in records[:6]] == [
        one, one, json.dumps(CUSTOMER), one, one, json.dumps(named(2, Age="42,0")),
    ]  # fmt: skip
    assert records[0].request_id == "my-request"
    assert records[1].request_id == records[2].request_id
    told = [single["probability"], *[each["probability"] for each in listed["predictions"]], zipped["probability"],
            reasoned["probability"], lenient["probability"]]  # fmt: skip
    assert [record.probability for record in records[:6]] == told
    assert [record.churn for record in records[:3]] == [single["churn"]] + [p["churn"] for p in listed["predictions"]]
    assert json.loads(str(records[4].reasons)) == reasoned["reasons"]
    assert [record.reasons for record in records[:4]] == [None] * 4
    assert [record.read_as for record in records] == [
        *[None] * 5, "texts=parse&decimal=,",
        "&".join(["texts=parse", *[f"comma={n}" for n in CUSTOMER if n not in ("Geography", "Gender")]]),
        "texts=parse", None,
    ]  # fmt: skip
    assert json.loads(str(records[6].input))["Balance"] == "1.234,5"
    assert json.loads(str(records[7].input)) == named(4)
    assert json.loads(str(records[8].input)) == CUSTOMER
    assert infer["outputs"][0]["data"] == [records[8].probability] == [records[7].probability]
    assert {(r.model_version, r.engine, r.threshold, r.key) for r in records} == {("1", "onnx", 0.5, None)}
    manifest = json.loads((bank_models / "1" / "manifest.json").read_text())
    assert {record.manifest_sha256 for record in records} == {manifest["manifest_sha256"]}
    result = verify(store)
    assert (result.faults, result.records, result.seals) == ([], 9, 1)


def test_a_durable_answer_has_a_record_when_it_arrives(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with serving(bank_models, records=url, records_mode="durable") as service:
        store = open_store(url)
        for number in range(1, 21):
            with service.connect() as connection:
                connection.sendall(request(json.dumps(named(number)).encode()))
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            assert find(store, customer=number).records
        assert read(service, 'churn_records_total{state="committed"}') == 20


def test_requests_of_one_connection_are_answered_in_order(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    single = [request(json.dumps(named(number)).encode()) for number in range(4)]
    batch = request(json.dumps({"customers": [named(8), named(9)]}).encode())
    wrong, model = request(b'{"Age": 1}'), request(b"", "", "GET /model HTTP/1.1")
    chunked = b"POST /predict HTTP/1.1\r\nHost: x\r\n" + JSON.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    body = json.dumps(named(7)).encode()
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    parts = [single[0], wrong, single[1], batch, model, single[2], chunked, wrong, single[3]]
    with serving(bank_models, records=url, records_mode="durable") as service:
        answers = service.send(b"".join(parts), until=len(parts))
        list_records(open_store(url), 7)
    assert [status for status, _, _ in answers] == [200, 422, 200, 200, 200, 200, 200, 422, 200]
    bodies = [json.loads(answer) for _, _, answer in answers]
    assert [bodies[place].get("CustomerId") for place in (0, 2, 5, 6, 8)] == [0, 1, 2, 7, 3]
    assert [one["CustomerId"] for one in bodies[3]["predictions"]] == [8, 9]
    assert bodies[4]["version"] == "1"


def test_the_name_of_the_key_is_recorded_on_the_fast_path_and_elsewhere(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    key = add_key(tmp_path / "keys", "crm", ["predict"])
    with serving(bank_models, records=url, api_keys=tmp_path / "keys") as service:
        headers = f"{JSON}X-API-Key: {key}\r\n"
        body = json.dumps(named(1)).encode()
        once = request(body, headers)
        service.send(once + once + request(body, headers, "POST /predict?extra=ignore HTTP/1.1"), until=3)
        records = list_records(open_store(url), 3)
    assert [record.key for record in records] == ["crm"] * 3


def test_records_of_a_canary_name_its_version(tmp_path: Path) -> None:
    publish(tmp_path / "models", background=6)
    publish(tmp_path / "models", threshold=0.0, background=6)
    Registry(tmp_path / "models").promote(1)
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start(tmp_path / "models", records=url, canary_version=2, canary_share=0.5) as client:
        wait_until(lambda: "canary" in client.get("/model").json())
        answers = {}
        for number in range(20):
            answers[str(number)] = client.post("/predict", json=named(number)).json()["model_version"]
        batch = client.post("/predict", json={"customers": [named(number) for number in range(20)]}).json()
        client.post("/predict?reasons=1", json={"customers": [named(number) for number in range(20)]})
        records = list_records(open_store(url), 60)
    assert set(answers.values()) == {"1", "2"}
    assert [answers[str(record.customer_id)] for record in records] == [record.model_version for record in records]
    told = [one["probability"] for one in batch["predictions"]]
    assert [record.probability for record in records] == told * 3


def test_large_bodies_and_tables_are_recorded_whole(bank_models: Path, tmp_path: Path, mode: str) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    many = [named(number) for number in range(3000)]
    with start(bank_models, records=url, records_mode=mode) as client:
        assert client.post("/predict", json={"customers": many}).status_code == 200
        assert post(client, to_arrow(many), ARROW).status_code == 200
        store = open_store(url)
        list_records(store, 6000)
        wait_until(lambda: read_metrics(client)['churn_records_total{state="committed"}'] == 6000)
    assert verify(store).faults == []
    assert [len(find(store, customer=number).records) for number in (0, 1500, 2999)] == [2, 2, 2]


def test_rejected_rows_of_a_table_are_not_recorded(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    rows = [named(1), named(2, Age="old"), named(3)]
    table = "\n".join([",".join(rows[0]), *[",".join(map(str, row.values())) for row in rows]])
    with start(bank_models, records=url) as client:
        assert post(client, table.encode(), CSV, "?on_error=reject").status_code == 200
        assert [record.customer_id for record in list_records(open_store(url), 2)] == ["1", "3"]


def test_rejected_rows_of_a_table_with_views_of_texts_are_not_recorded(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    rows = [named(1), named(2, Age=-1), named(3)]
    table = to_arrow(rows, Geography=pa.array([row["Geography"] for row in rows], pa.string_view()))
    with start(bank_models, records=url) as client:
        assert post(client, table, ARROW, "?on_error=reject").status_code == 200
        records = list_records(open_store(url), 2)
    assert [(record.customer_id, json.loads(str(record.input))["Geography"]) for record in records] == [
        ("1", "France"), ("3", "France"),
    ]  # fmt: skip


def lock_out(store: RecordStore) -> None:
    """Let every write to a store of SQLite fail, as if its disk was full."""
    with store.writing() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON churn_writers BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )


def let_in(store: RecordStore) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")


def test_durable_says_that_there_is_no_writer(tmp_path: Path) -> None:
    settings = Settings(models=tmp_path, records=f"sqlite:///{tmp_path / 'r.db'}", records_mode="durable")
    frames = DurableDispatcher(settings, RecordMetrics(CollectorRegistry()), lambda: None, lambda _: None)
    reasons: list[str] = []
    frames.put([], [], 1, [reasons.append])
    assert reasons == [NO_WRITER]


def test_durable_answers_503_while_the_store_cannot_be_written_to(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    body = request(json.dumps(named(1)).encode())
    batch = request(json.dumps({"customers": [named(2), named(3)]}).encode())
    with serving(bank_models, records=url, records_mode="durable") as service:
        store = open_store(url)
        assert [status for status, _, _ in service.send(body + batch, until=2)] == [200, 200]
        lock_out(store)
        answers = service.send(body, body, batch, until=3)
        assert [status for status, _, _ in answers] == [503, 503, 503]
        problem = json.loads(answers[0][2])
        assert problem["type"] == "urn:churn:not-recorded"
        assert "disk full" in problem["detail"]
        assert answers[0][1]["retry-after"] == "1"
        assert read(service, "churn_records_down") == 1
        let_in(store)
        wait_until(lambda: service.send(body)[0][0] == 200)
        assert read(service, "churn_records_down") == 0
        records = find(store).records
    answered = 3 + 1
    assert len(records) == answered
    assert verify(store).faults == []


def test_behind_scores_on_and_loads_later_what_it_spilled(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start(bank_models, records=url) as client:
        store = open_store(url)

        def score(*numbers: int) -> None:
            for number in numbers:
                assert client.post("/predict", json=named(number)).status_code == 200

        score(1, 2)
        list_records(store, 2)
        lock_out(store)
        score(3, 4, 5)
        wait_until(lambda: read_metrics(client)['churn_records_total{state="spilled"}'] == 3)
        metrics = read_metrics(client)
        assert metrics["churn_records_down"] == 1
        assert metrics["churn_records_spilled_bytes"] > 0
        assert [*(tmp_path / "records.db-spill").iterdir()]
        let_in(store)
        wait_until(lambda: len(find(store).records) == 5)
        wait_until(lambda: read_metrics(client)["churn_records_loaded_total"] == 3)
        score(6)
        list_records(store, 6)
        assert read_metrics(client)["churn_records_spilled_bytes"] == 0
    assert not [*(tmp_path / "records.db-spill").iterdir()]
    assert sorted(str(record.customer_id) for record in find(store).records) == [*"123456"]
    assert verify(store).faults == []


def test_what_is_loaded_does_not_stay_in_a_file(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start(bank_models, records=url) as client:
        folder = tmp_path / "records.db-spill"
        for number in (1, 2):
            client.post("/predict", json=named(number))
            list_records(open_store(url), number)
            wait_until(lambda: not [*folder.glob("*.spill")])
        assert read_metrics(client)['churn_records_total{state="committed"}'] == 2
        assert folder.stat().st_mode & 0o777 == 0o700
    assert [*folder.iterdir()] == []


def test_without_a_folder_for_files_records_are_kept_all_the_same(bank_models: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serving(bank_models, records=url, records_spill=tmp_path / "file" / "spill") as service:
        for number in range(1, 4):
            service.send(request(json.dumps(named(number)).encode()))
        list_records(open_store(url), 3)
        wait_until(lambda: read(service, 'churn_records_total{state="committed"}') == 3)


def test_loading_gives_way_to_scoring(bank_models: Path, tmp_path: Path, mode: str) -> None:
    with serving(bank_models, records=f"sqlite:///{tmp_path / 'records.db'}", records_mode=mode) as service:
        process = service.app.decisions.process_id
        here = os.getpriority(os.PRIO_PROCESS, 0)

        def is_low() -> bool:
            session = Path(f"/proc/{process}/autogroup")
            has_session = session.exists() and session.read_text().strip().endswith(f"nice {LOWEST}")
            return has_session or os.getpriority(os.PRIO_PROCESS, process) == min(here + NICE, 19) != here

        if mode == "behind":
            wait_until(is_low)
        else:
            service.send(request(json.dumps(named(1)).encode()))  # the writer has begun
            assert not is_low()


def test_services_with_different_databases_have_different_folders(tmp_path: Path) -> None:
    from service.keeping.options import choose_spill

    urls = ["postgresql://u:one@h/a", "postgresql://u:two@h/a", "postgresql://u@h/b", f"sqlite:///{tmp_path}/r.db?x=1"]
    first, same, other, sqlite = (choose_spill(Settings(models=tmp_path, records=url)) for url in urls)
    assert first == same != other
    assert sqlite == f"{tmp_path}/r.db-spill"


def test_what_does_not_fit_into_the_files_is_counted_as_lost(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start(bank_models, records=url, records_spill_bytes=0) as client:
        store = open_store(url)
        lock_out(store)
        assert client.post("/predict", json=named(1)).status_code == 200
        wait_until(lambda: read_metrics(client)['churn_records_total{state="lost"}'] == 1)
        let_in(store)


def test_what_a_killed_service_had_spilled_is_loaded_by_the_next_one(bank_models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start(bank_models, records=url) as client:
        store = open_store(url)
        lock_out(store)
        client.post("/predict", json=named(1))
        wait_until(lambda: read_metrics(client)['churn_records_total{state="spilled"}'] == 1)
    assert find(store).records == []
    let_in(store)
    with start(bank_models, records=url):
        list_records(store, 1)


def test_a_writer_that_hangs_is_replaced_and_its_records_are_in_a_file_meanwhile(
    bank_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behind, "HANG_SECONDS", 0.2)
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with serving(bank_models, records=url) as service:
        body = [request(json.dumps(named(number)).encode()) for number in range(1, 5)]
        service.send(body[0])
        store = open_store(url)
        list_records(store, 1)
        hung = service.app.decisions.process_id
        os.kill(hung, signal.SIGSTOP)
        service.send(body[1] + body[2], until=2)
        wait_until(lambda: service.app.decisions.process_id not in (hung, None))
        service.send(body[3])
        records = list_records(store, 4)
        assert read(service, 'churn_records_total{state="lost"}') == 0
    assert sorted(str(record.customer_id) for record in records) == [*"1234"]
    assert verify(store).faults == []


@pytest.mark.parametrize("what", ["damaged", "removed"])
def test_what_cannot_be_read_is_counted_and_what_comes_next_is_recorded(
    bank_models: Path, tmp_path: Path, what: str
) -> None:
    url, folder = f"sqlite:///{tmp_path / 'records.db'}", tmp_path / "records.db-spill"
    with serving(bank_models, records=url) as service:
        body = [request(json.dumps(named(number)).encode()) for number in range(1, 4)]
        service.send(body[0])
        list_records(open_store(url), 1)
        wait_until(lambda: not [*folder.glob("*.spill")])
        writer = service.app.decisions.process_id
        os.kill(writer, signal.SIGSTOP)
        service.send(body[1])
        wait_until(lambda: [*folder.glob("*.spill")])
        (file,) = folder.glob("*.spill")
        wait_until(lambda: file.stat().st_size > 0)
        if what == "damaged":
            content = bytearray(file.read_bytes())
            content[20] ^= 1
            file.write_bytes(content)
        else:
            shutil.rmtree(folder)
        os.kill(writer, signal.SIGCONT)
        wait_until(lambda: read(service, 'churn_records_total{state="lost"}') == 1)
        assert read(service, "churn_records_waiting") == 0
        service.send(body[2])
        list_records(open_store(url), 2)
        assert [*folder.glob("*.lock")]
    assert verify(open_store(url)).faults == []


@pytest.mark.parametrize("path", ["fast", "slow"])
def test_a_writer_that_is_killed_is_replaced_and_nothing_is_lost_or_repeated(
    bank_models: Path, url: str, mode: str, path: str
) -> None:
    line = "POST /predict HTTP/1.1" if path == "fast" else "POST /predict?extra=ignore HTTP/1.1"
    answered = 0
    with serving(bank_models, records=url, records_mode=mode) as service:
        for number in range(60):
            if number in (20, 40):
                wait_until(lambda: service.app.decisions.process_id is not None)
                os.kill(service.app.decisions.process_id, signal.SIGKILL)
            (status, _, _), = service.send(request(json.dumps(named(number)).encode(), line=line))  # fmt: skip
            assert status == 200 or mode == "durable"
            answered += status == 200
            if status == 503:
                wait_until(lambda: service.send(request(json.dumps(CUSTOMER).encode()))[0][0] == 200)
                answered += 1
        store = open_store(url)
        wait_until(lambda: len(find(store, limit=1000).records) >= answered)
    records = find(store, limit=1000).records
    assert verify(store).faults == []
    if mode == "behind":
        assert sorted(int(str(record.customer_id)) for record in records) == [*range(60)]
    else:
        assert len(records) >= answered


def test_a_store_that_cannot_be_used_stops_the_start(bank_models: Path, tmp_path: Path) -> None:
    from service.keeping.options import RecordsError, check_records
    from service.settings import Settings, SettingsError, read_settings

    (tmp_path / "file").write_text("no folder")
    for url, mode, message in [
        ("sqlite:///:memory:", "behind", "CHURN_RECORDS: records need an SQLite file"),
        ("postgresql://user@host:port/db", "behind", "CHURN_RECORDS: the database URL is invalid"),
        (f"sqlite:///{tmp_path / 'file' / 'records.db'}", "durable", "file"),
    ]:
        with pytest.raises(RecordsError, match=message):
            check_records(Settings(models=bank_models, records=url, records_mode=mode))  # type: ignore[arg-type]
    check_records(Settings(models=bank_models, records=f"sqlite:///{tmp_path / 'file' / 'records.db'}"))
    check_records(Settings(models=bank_models))
    with pytest.raises(SettingsError, match=r"^CHURN_RECORDS can't be used; allowed: sqlite:/// and a path"):
        read_settings(records="mysql://user:secret@host/db")
