"""`POST /predict` with tables: the same numbers as JSON, and what is refused how."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from bundles import BANK, CUSTOMER, ODD
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import assert_problem
from pyarrow import ipc
from running import read_metrics, start
from starlette.testclient import TestClient
from table_requests import ARROW, CSV, post, read_arrow, read_csv, to_arrow, to_csv

from churn.scorer import load_scorer
from churn.tables.cells import CellParser
from churn.tables.encoding import advise_conversion
from service.app import create_app
from service.errors import Problem, RequestProblem
from service.predict.parse import parse
from service.settings import Settings
from service.tables.job import TableJob

if TYPE_CHECKING:
    from churn.feature import Feature
    from churn.schema import Schema
    from churn.scorer import Scorer

ROOT = Path(__file__).parents[3]
COUNTRIES = BANK["Geography"].categories
CUSTOMERS = [
    CUSTOMER | {"Age": 18 + n, "Geography": COUNTRIES[n % 3], "Balance": 1000.5 * n, "CustomerId": 15_000_000 + n}
    for n in range(60)
]
BAD = CUSTOMER | {"Age": "x", "Gender": "", "CustomerId": 7}


def by_json(client: TestClient, customers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = client.post("/predict", json={"customers": customers}).json()["predictions"]
    return predictions


def test_json_csv_and_arrow_give_the_same_numbers(client: TestClient) -> None:
    expected = by_json(client, CUSTOMERS)
    answer = post(client, to_csv(CUSTOMERS))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
    assert read_csv(answer.content) == [
        {"CustomerId": str(one["CustomerId"]), "probability": f"{one['probability']:.6f}".rstrip("0").rstrip("."),
         "churn": str(one["churn"]).lower(), "model_version": "1"}
        for one in expected
    ]  # fmt: skip
    answer = post(client, to_arrow(CUSTOMERS, 25), ARROW)
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
    names = ("CustomerId", "probability", "churn")
    assert read_arrow(answer.content) == [
        {name: one[name] for name in names} | {"model_version": "1"} for one in expected
    ]
    form = ipc.open_stream(answer.content).schema
    assert form.types == [pa.int64(), pa.float64(), pa.bool_(), pa.string()]


@pytest.mark.parametrize("change", ["shuffled", "semicolon", "crlf", "cr", "bom", "quoted", "blank lines", "open end"])
def test_a_csv_may_be_written_in_many_ways(client: TestClient, change: str) -> None:
    customers = [customer | {"Surname": 'Müller; "Bär",\nAG', "RowNumber": 3} for customer in CUSTOMERS]
    expected = post(client, to_csv(CUSTOMERS)).content
    if change == "shuffled":
        customers = [dict(reversed(customer.items())) for customer in customers]
    body = to_csv(customers, ";" if change == "semicolon" else ",", {"crlf": "\r\n", "cr": "\r"}.get(change, "\n"))
    if change == "bom":
        body = b"\xef\xbb\xbf" + body
    if change == "quoted":
        body = to_csv(CUSTOMERS)
        body = b"\n".join(b",".join(b'"%b"' % cell for cell in line.split(b",")) for line in body.splitlines()) + b"\n"
    if change == "blank lines":
        body = to_csv(CUSTOMERS).replace(b"\n", b"\n\n")
    if change == "open end":
        body = to_csv(CUSTOMERS)[:-1]
    assert post(client, body).content == expected


def test_rows_are_numbered_where_nothing_names_them(client: TestClient) -> None:
    customers = [CUSTOMER] * 3
    csv = read_csv(post(client, to_csv(customers)).content)
    arrow = read_arrow(post(client, to_arrow(customers, 2), ARROW).content)
    assert [row["row"] for row in csv] == ["1", "2", "3"]
    assert [row["row"] for row in arrow] == [1, 2, 3]
    assert "CustomerId" not in csv[0]
    assert "CustomerId" not in arrow[0]


@pytest.mark.parametrize("identifier", ["", 'a,"b"\nc', "ü", "007"])
def test_an_identifier_comes_back_as_it_was(client: TestClient, identifier: str) -> None:
    customers = [CUSTOMER | {"CustomerId": identifier}]
    for query in ("", "?on_error=reject"):
        assert read_csv(post(client, to_csv(customers), query=query).content)[0]["CustomerId"] == identifier
        assert read_arrow(post(client, to_arrow(customers), ARROW, query).content)[0]["CustomerId"] == identifier


def test_a_table_without_rows_has_an_answer_without_rows(client: TestClient) -> None:
    header = to_csv([CUSTOMER]).splitlines()[0]
    assert post(client, header).content == b"row,probability,churn,model_version\n"
    stream = to_arrow([CUSTOMER])
    empty = ipc.open_stream(stream).schema.serialize().to_pybytes() + b"\xff\xff\xff\xff\0\0\0\0"
    assert read_arrow(post(client, empty, ARROW).content) == []


def test_arrow_columns_may_have_any_flat_type(client: TestClient) -> None:
    expected = post(client, to_arrow(CUSTOMERS), ARROW).content
    count = len(CUSTOMERS)
    for name, form in {
        "Age": pa.uint8(), "Balance": pa.decimal128(12, 2), "Geography": pa.dictionary(pa.int8(), pa.string()),
        "Gender": pa.large_string(), "HasCrCard": pa.bool_(), "Tenure": pa.string(), "IsActiveMember": pa.float32(),
    }.items():  # fmt: skip
        values = pa.array([customer[name] for customer in CUSTOMERS]).cast(form)
        assert post(client, to_arrow(CUSTOMERS, 7, **{name: values}), ARROW).content[-9:] == expected[-9:]
        assert read_arrow(post(client, to_arrow(CUSTOMERS, 7, **{name: values}), ARROW).content) == read_arrow(expected)
    named = pa.array([f"n{number % 9}" for number in range(count)]).dictionary_encode()
    rows = read_arrow(post(client, to_arrow(CUSTOMERS, 7, CustomerId=named), ARROW).content)
    assert [row["CustomerId"] for row in rows] == named.to_pylist()


def test_bad_rows_are_listed(client: TestClient) -> None:
    body = to_csv([CUSTOMERS[0] | {"Surname": "a\nb"}, BAD | {"Surname": "c"}]) + b"1,2\n"
    document = assert_problem(post(client, body), 422, "invalid-customers")
    assert document["detail"].startswith("line 4: Gender is missing; allowed: one of Female, Male (and 2 more")
    assert document["errors"] == [
        {"customer": 1, "row": 2, "line": 4, "field": "Gender", "reason": "is missing", "sent": None,
         "allowed": BANK["Gender"].allowed},
        {"customer": 1, "row": 2, "line": 4, "field": "Age", "reason": "is not a number", "sent": "x",
         "allowed": BANK["Age"].allowed},
        {"customer": 2, "row": 3, "line": 5, "field": None, "reason": "has 2 fields", "sent": "1,2",
         "allowed": "12 fields, as in the header"},
    ]  # fmt: skip
    ages = pa.array([20.0, 20.5, None] * 20)
    document = assert_problem(post(client, to_arrow(CUSTOMERS, 30, Age=ages), ARROW), 422, "invalid-customers")
    assert len(document["errors"]) == 40
    assert document["errors"][0] == {
        "customer": 1, "row": 2, "field": "Age", "reason": "is not a whole number", "sent": 20.5,
        "allowed": BANK["Age"].allowed,
    }  # fmt: skip


def test_at_most_a_hundred_are_listed(client: TestClient) -> None:
    document = assert_problem(post(client, to_csv([BAD] * 500)), 422, "invalid-customers")
    assert len(document["errors"]) == 100
    assert "(and 99 or more others, see errors)" in document["detail"]


def test_rejects_are_answered_beside_the_scores(client: TestClient) -> None:
    before, allowed = read_metrics(client), BANK["Age"].allowed
    body = to_csv([CUSTOMERS[0], BAD, CUSTOMERS[1]]) + b"1,2\n\xfc" + to_csv(CUSTOMERS[2:3]).splitlines()[1]
    rows = read_csv(post(client, body, query="?on_error=reject").content)
    scores = [str(one["probability"]) for one in by_json(client, CUSTOMERS[:2])]
    assert [row["probability"] for row in rows] == [scores[0], "", scores[1], "", ""]
    assert [row["churn"] == "" for row in rows] == [False, True, False, True, True]
    assert [row["error"] for row in rows] == [
        "",
        f"Gender is missing, allowed: one of Female, Male; Age is not a number: sent 'x', allowed: {allowed}",
        "",
        "the row has 2 fields: sent '1,2', allowed: 11 fields, as in the header",
        "CreditScore is not UTF-8 text: sent '�619', allowed: UTF-8. " + advise_conversion(),
    ]
    stream = to_arrow(CUSTOMERS, 7, Age=pa.array(["20", "x", None] * 20))
    found = read_arrow(post(client, stream, ARROW, "?on_error=reject").content)
    assert [row["error"] is None for row in found] == [True, False, False] * 20
    assert [row["probability"] is None and row["churn"] is None for row in found] == [False, True, True] * 20
    assert [row["CustomerId"] for row in found] == [customer["CustomerId"] for customer in CUSTOMERS]
    after = read_metrics(client)
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert grown["churn_rejected_customers_total"] == 3 + 40
    assert grown["churn_score_count"] == 2 + 20 + 2  # and by JSON
    assert grown["churn_batch_size_sum"] == 5 + 60 + 2
    assert grown['churn_requests_total{method="POST",route="/predict",status="200"}'] == 3
    assert grown['churn_request_duration_seconds_count{route="/predict, table"}'] == 2
    assert grown['churn_request_stage_duration_seconds_count{stage="inference"}'] == 1 + 1 + 1  # small batches together
    assert after["churn_requests_in_flight"] == 0


def test_an_identifier_that_cannot_come_back_is_rejected(client: TestClient) -> None:
    body = to_csv([CUSTOMER | {"CustomerId": "M?ller", "Surname": "M?ller"}]).replace(b"?", b"\xfc", 1)
    document = assert_problem(post(client, body), 422, "invalid-customers")
    assert [(one["field"], one["reason"]) for one in document["errors"]] == [("CustomerId", "is not UTF-8 text")]
    assert document["errors"][0]["allowed"].endswith("convert it: iconv -f WINDOWS-1252 -t UTF-8")
    body = to_csv([CUSTOMER | {"Geography": "Espa?a"}]).replace(b"?", b"\xf1", 1)
    [error] = assert_problem(post(client, body), 422, "invalid-customers")["errors"]
    assert (error["field"], error["reason"]) == ("Geography", "is not UTF-8 text")
    assert error["allowed"].endswith("convert it: iconv -f WINDOWS-1252 -t UTF-8")
    body = to_csv([CUSTOMER | {"CustomerId": "M", "Surname": "M?ller"}]).replace(b"?", b"\xfc", 1)
    assert post(client, body).status_code == 200  # nobody reads that column


@pytest.mark.parametrize(
    ("content_type", "kind", "words"),
    [
        ("text/csv; charset=iso-8859-1", "unsupported-media-type", "charset is 'iso-8859-1'; allowed: utf-8"),
        ("text/csv; header=absent", "unsupported-media-type", "allowed: present"),
        ("text/csvx", "unsupported-media-type", "'text/csv' and 'application/vnd.apache.arrow.stream'"),
    ],
)
def test_other_content_types_are_refused(client: TestClient, content_type: str, kind: str, words: str) -> None:
    assert words in assert_problem(post(client, b"x", content_type), 415, kind)["detail"]


@pytest.mark.parametrize("content_type", ["Text/CSV ;charset=UTF-8", 'text/csv; charset="utf-8"; header=present', CSV])
def test_csv_is_accepted_however_it_is_announced(client: TestClient, content_type: str) -> None:
    assert post(client, to_csv(CUSTOMERS), content_type).status_code == 200


def test_compressed_bodies_and_unknown_parameters_are_refused(client: TestClient) -> None:
    for encoding in ("gzip", "br", "identity, gzip"):
        answer = post(client, b"x", **{"content-encoding": encoding})
        document = assert_problem(answer, 415, "unsupported-content-encoding")
        assert document["detail"] == f"sent as {encoding!r}; send it uncompressed"
    for encoding in ("identity", "Identity", "", "IDENTITY , identity"):
        assert post(client, to_csv(CUSTOMERS), **{"content-encoding": encoding}).status_code == 200
    for media_type in (CSV, "application/json"):
        assert post(client, b"x", media_type, "?on_error=fail&on_error=reject").status_code == 400
        answer = post(client, b"x", media_type, "?on_error=drop")
        detail = assert_problem(answer, 400, "invalid-parameter")["detail"]
        assert detail == "on_error is 'drop'; allowed: fail or reject"
    assert client.post("/predict?on_error=reject", json=CUSTOMER).status_code == 200


@pytest.mark.parametrize("query", ["?extra=all", "?texts=", "?extra=&texts=", "?texts=parse&texts=refuse"])
def test_parameters_for_json_have_their_values_checked_for_tables_too(client: TestClient, query: str) -> None:
    for media_type in (CSV, ARROW):
        assert_problem(post(client, to_csv(CUSTOMERS), media_type, query), 400, "invalid-parameter")
    assert post(client, to_csv(CUSTOMERS), query="?extra=ignore&texts=parse").status_code == 200


def test_wrong_columns_are_named_even_where_rejects_are_wanted(client: TestClient) -> None:
    body = to_csv(CUSTOMERS).replace(b"Tenure", b"Age", 1)
    for table, media_type in ((body, CSV), (to_arrow([{"Age": 1, "x": 2}]), ARROW)):
        document = assert_problem(post(client, table, media_type, "?on_error=reject"), 422, "invalid-customers")
        [error] = [one for one in document["errors"] if one["field"] == "Tenure"]
        assert error["reason"] == "is missing from the columns"
        assert error["allowed"].startswith("one column Tenure; found: ")
    document = post(client, body).json()
    assert [(one["field"], one["reason"]) for one in document["errors"]] == [
        ("Age", "occurs twice among the columns"),
        ("Tenure", "is missing from the columns"),
    ]
    nested = to_arrow(CUSTOMERS, Age=pa.array([[1]] * 60))
    [error] = assert_problem(post(client, nested, ARROW), 422, "invalid-customers")["errors"]
    assert (error["field"], error["reason"]) == ("Age", "has the type list<item: int64>")


STREAM = to_arrow(CUSTOMERS)


def compressed() -> bytes:
    sink = pa.BufferOutputStream()
    table = ipc.open_stream(STREAM).read_all()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


@pytest.mark.parametrize(
    ("media_type", "body", "words"),
    [
        (CSV, b"", "it is empty, without a header"),
        (CSV, b"\n,,\n", "line 2 should be the header, but has only empty fields"),
        (CSV, "Age,Tenure\n".encode("utf-16-le"), "it is UTF-16 without a byte-order mark"),
        (CSV, "Age,Ténure\n".encode("utf-32"), "it is UTF-32"),
        (
            CSV,
            "Age,Ténure\n".encode("latin-1"),
            "line 1: the header is not UTF-8: byte 5. The file is not UTF-8",
        ),
        (ARROW, b"", "the stream is empty"),
        (ARROW, b"ARROW1\0\0" + STREAM, "this is an Arrow file; send an Arrow stream"),
        (ARROW, b"x" * 100, "not an Arrow stream"),
        (ARROW, STREAM[:-100], "cut off in the middle of a message"),
        (ARROW, compressed(), "batches are compressed"),
        (ARROW, STREAM[:-8] + STREAM, "one schema, then"),
        (ARROW, STREAM[:-8], "the stream has no end marker"),
        (ARROW, STREAM + STREAM, f"the stream ends at byte {len(STREAM)}, and more bytes follow"),
        (ARROW, STREAM + b"\n", f"the stream ends at byte {len(STREAM)}, and more bytes follow"),
    ],
)
def test_what_is_no_table_is_refused(client: TestClient, media_type: str, body: bytes, words: str) -> None:
    kind = "malformed-csv" if media_type == CSV else "malformed-arrow"
    assert words in assert_problem(post(client, body, media_type), 400, kind)["detail"]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_stream_harms_nobody(bank_scorer: Scorer, data: st.DataObject) -> None:
    damaged = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    with suppress(RequestProblem):
        read_arrow(run(bank_scorer, bytes(damaged), "arrow", rejects=True))


def test_limits_are_kept_and_named(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.tables.endpoint.BLOCK_BYTES", 500)
    with start(bank_models, max_body_bytes=2000, max_held_bytes=3000, max_spilled_bytes=0) as client:
        assert post(client, to_csv(CUSTOMERS)).status_code == 200  # longer than one JSON request may be
        long = to_csv([CUSTOMER | {"x": "y" * 100_000}, CUSTOMER])
        assert "up to 2000 bytes" in assert_problem(post(client, long), 413, "body-too-large")["detail"]
        detail = assert_problem(post(client, to_arrow(CUSTOMERS), ARROW), 413, "body-too-large")["detail"]
        assert "a batch of an Arrow stream may have up to 2000 bytes" in detail
        assert post(client, to_arrow(CUSTOMERS, 10), ARROW).status_code == 200
        draw = np.random.default_rng(0)
        many = to_csv([CUSTOMER | {"Balance": balance} for balance in draw.uniform(0, 1e5, 2000).tolist()])
        detail = assert_problem(post(client, many), 413, "answer-too-large")["detail"]
        assert "(CHURN_MAX_HELD_BYTES, CHURN_MAX_SPILLED_BYTES)" in detail
        answer = post(client, many, query="?on_error=reject")
        assert (answer.status_code, len(read_csv(answer.content))) == (200, 2000)
        assert client.app.predict._bulk._budget.memory == 0  # type: ignore[attr-defined]
        client.app.processor._pending = 2**26  # type: ignore[attr-defined]
        assert post(client, b"").headers["retry-after"] == "1"


def test_a_service_that_is_not_ready_says_so_first(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(models=tmp_path))) as client:
        assert_problem(post(client, to_csv(CUSTOMERS)), 503, "not-ready")


@pytest.fixture(scope="module")
def bank_scorer(bank_models: Path) -> Scorer:
    return load_scorer(bank_models / "1", "onnx")


@pytest.fixture(scope="module")
def odd_scorer(odd_models: Path) -> Scorer:
    return load_scorer(odd_models / "1", "onnx")


def run(scorer: Scorer, body: bytes, form: Any, *, rejects: bool, size: int = 1 << 30) -> bytes:
    job, answer = TableJob(scorer, form, rejects=rejects), b""
    for start_at in range(0, max(len(body), 1), size):
        last = start_at + size >= len(body)
        for block in job.work(body[start_at : start_at + size], last=last, pack=lambda: True):
            answer += block.answer.unpack()
    return answer


@st.composite
def values(draw: st.DrawFn, feature: Feature) -> Any:
    """Draw a value that JSON and a CSV cell say alike: mostly right, often not."""
    if draw(st.integers(0, 14)) == 0:
        return draw(st.sampled_from(["?", "x y", 'a"b', "a,b\nc", "ü", -1e9, 1e16, 2.5, 7]))
    if feature.kind == "category":
        return draw(st.sampled_from(feature.categories))
    if feature.kind == "flag":
        return draw(st.sampled_from([0, 1, "yes", "No", "TRUE"]))
    if draw(st.integers(0, 9)) == 0:
        return None
    if feature.kind == "integer":
        return draw(st.integers(0, 300))
    return draw(st.floats(0, 1e6) | st.integers(-5, 5))


def expected_rows(scorer: Scorer, customers: list[dict[str, Any]]) -> list[tuple[Any, list[tuple[str, str]]]]:
    """Return what JSON says of each customer: probability, and fields with reasons."""
    rows: list[tuple[Any, list[tuple[str, str]]]] = []
    for customer in customers:
        try:
            lone: Any = parse(scorer.schema, json.dumps(customer).encode(), 1)
        except RequestProblem as problem:
            rows.append(("", [(one["field"], one["reason"]) for one in problem.errors]))
        else:
            rows.append((scorer.score_raw(np.array([lone.row]))[0], []))
    return rows


@pytest.mark.parametrize(("name", "schema"), [("bank_scorer", BANK), ("odd_scorer", ODD)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tables_and_json_judge_alike(
    name: str, schema: Schema, request: pytest.FixtureRequest, data: st.DataObject
) -> None:
    scorer = request.getfixturevalue(name)
    customer = st.fixed_dictionaries({feature.name: values(feature) for feature in schema.features})
    customers = data.draw(st.lists(customer, min_size=1, max_size=12))
    delimiter = data.draw(st.sampled_from(",;"))
    body = to_csv(customers, delimiter, data.draw(st.sampled_from(["\n", "\r\n"])))
    rows = read_csv(run(scorer, body, "csv", rejects=True, size=data.draw(st.integers(1, 400))))
    expected = expected_rows(scorer, customers)
    for row, (probability, faults) in zip(rows, expected, strict=True):
        if faults:
            assert row["probability"] == ""
            assert all(f"{field} " in row["error"] for field, _ in faults)
            assert row["error"].count("allowed: ") == len(faults)
        else:
            assert float(row["probability"]) == pytest.approx(probability, abs=1.1e-6)  # rows scored together, or alone
            assert row["error"] == ""
    if not any(faults for _, faults in expected):
        return
    with pytest.raises(Problem) as refusal:
        run(scorer, body, "csv", rejects=False)
    listed = [(one["row"] - 1, one["field"]) for one in refusal.value.errors]
    assert listed == [(row, field) for row, (_, faults) in enumerate(expected) for field, _ in faults]


CELLS = st.sampled_from(
    ["1", "0", "42", " 42", "42 ", "+5", "5.", ".5", "1e2", "1e400", "-0", "0x10", "1_0", "٣", "", " ", "NA", " NA",
     "nan", "NAN", "-nan", "NaN", "inf", "Infinity", "true", "Yes", "1.0", "?", '"7"', '""', "1d", "null", "3e-9", "a"]
)  # fmt: skip


def read_as_texts(parser: CellParser, data: bytes) -> Any:
    return *parser._read(data, frozenset()), frozenset()


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.lists(CELLS, min_size=4, max_size=5), min_size=1, max_size=6), rejects=st.booleans())
def test_reading_numbers_at_once_changes_nothing(odd_scorer: Scorer, rows: list[list[str]], rejects: bool) -> None:
    header = "class,_income,größe in cm,it's €?,plain\n"
    body = (header + "\n".join(",".join(["a", *row[:4]]) for row in rows)).encode()

    def outcome() -> Any:
        try:
            return run(odd_scorer, body, "csv", rejects=rejects)
        except RequestProblem as problem:
            return problem.encode()

    at_once = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellParser, "_read_typed", read_as_texts)
        assert outcome() == at_once
