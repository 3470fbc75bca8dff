"""Tables that would take much more memory or time than their bytes tell are refused, or read in small steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from bundles import CUSTOMER
from problems import assert_problem
from pyarrow import ipc
from running import read_metrics, start
from table_requests import ARROW, CSV, post, read_arrow, to_arrow, to_csv

from churn.scorer import load_scorer
from service.tables import csv_table
from service.tables.arrow_table import SLICE_BYTES
from service.tables.job import TableJob
from service.tables.limits import TableLimits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.testclient import TestClient

    from churn.scorer import Scorer

ROWS = 1000
LONG = "x" * 5000


@pytest.fixture(scope="module")
def scorer(bank_models: Path) -> Scorer:
    return load_scorer(bank_models / "1", "onnx")


def share(words: Sequence[str], rows: int = ROWS, kind: Any = None) -> pa.Array:
    """Return a column whose rows share texts."""
    return pa.DictionaryArray.from_arrays(pa.array(np.arange(rows) % len(words)), pa.array(words, kind or pa.string()))


def view(text: str, rows: int = ROWS) -> pa.Array:
    """Return a column of views of one text."""
    one = pa.array([text], pa.string_view())
    _, views, *texts = one.buffers()
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(views.to_pybytes()[:16] * rows), *texts])


def write(*batches: pa.RecordBatch, deltas: bool = False) -> bytes:
    sink = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)
    with ipc.new_stream(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def make_batch(rows: int, **columns: pa.Array) -> pa.RecordBatch:
    plain = {name: pa.array([value] * rows) for name, value in CUSTOMER.items()}
    return pa.RecordBatch.from_pydict(plain | columns)


@pytest.mark.parametrize("name", ["Geography", "CustomerId", "Age"])
@pytest.mark.parametrize(
    "column",
    [share([LONG]), share([LONG], kind=pa.large_string()), share([LONG], kind=pa.string_view()), view(LONG),
     pa.array([LONG] * ROWS)],
    ids=["dictionary", "large dictionary", "dictionary of views", "views", "texts"],
)  # fmt: skip
def test_a_long_text_is_refused_however_it_is_stored(client: TestClient, name: str, column: pa.Array) -> None:
    before = read_metrics(client)['churn_limited_requests_total{limit="max_cell_bytes"}']
    response = post(client, write(make_batch(ROWS, **{name: column})), ARROW)
    detail = assert_problem(response, 413, "body-too-large")["detail"]
    assert f"column {name} has 5000 bytes" in detail
    assert "CHURN_MAX_CELL_BYTES" in detail
    assert read_metrics(client)['churn_limited_requests_total{limit="max_cell_bytes"}'] == before + 1


def test_a_long_cell_of_a_csv_is_refused(client: TestClient) -> None:
    table = to_csv([CUSTOMER, CUSTOMER | {"Geography": LONG}])
    assert "CHURN_MAX_CELL_BYTES" in assert_problem(post(client, table), 413, "body-too-large")["detail"]


def test_a_long_text_in_another_column_or_entry_is_let_pass(client: TestClient) -> None:
    table = to_csv([CUSTOMER | {"Notes": LONG}])
    assert post(client, table).status_code == 200
    unused = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS), pa.array(["France", LONG]))
    batch = make_batch(ROWS, Geography=unused, Notes=share([LONG]))
    assert post(client, write(batch), ARROW).status_code == 200


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()], ids=str)
def test_shared_texts_score_as_texts(client: TestClient, kind: pa.DataType) -> None:
    words = [f"unused {n}" for n in range(50)] + ["France", "Spain"]
    codes = pa.array([50, 51, 50, None])
    ids = pa.array(["a", "b", None, "b"])
    shared = make_batch(4, Geography=pa.DictionaryArray.from_arrays(codes, pa.array(words, kind)), CustomerId=ids)
    plain = make_batch(4, Geography=pa.array(["France", "Spain", "France", None]), CustomerId=ids)
    answers = [post(client, write(one), ARROW, "?on_error=reject") for one in (shared, plain)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert read_arrow(answers[0].content) == read_arrow(answers[1].content)
    assert [row["error"] is None for row in read_arrow(answers[0].content)] == [True, True, True, False]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_identifiers_that_are_shared_are_answered(client: TestClient, kind: pa.DataType) -> None:
    ids = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1]), pa.array(["a", "b", "unused"], kind))
    answer = post(client, write(make_batch(4, CustomerId=ids)), ARROW)
    assert answer.status_code == 200
    assert [row["CustomerId"] for row in read_arrow(answer.content)] == ["b", "a", None, "b"]


def read_blocks(scorer: Scorer, body: bytes, limits: TableLimits = TableLimits()) -> list[Any]:  # noqa: B008
    job = TableJob(scorer, "arrow", rejects=True, limits=limits)
    return [block.scored for block in job.work(body, last=True, pack=lambda: False) if block.scored is not None]


def test_rows_that_share_texts_are_read_in_parts_of_limited_size(scorer: Scorer) -> None:
    ids = share(["x" * 4000, "y" * 4000], 8000)
    blocks = read_blocks(scorer, write(make_batch(8000, CustomerId=ids)))
    assert sum(block.total for block in blocks) == 8000
    assert max(block.total for block in blocks) <= SLICE_BYTES // 4000
    assert len(read_blocks(scorer, write(make_batch(8000, CustomerId=share(["x", "y"], 8000))))) == 1


def test_small_batches_do_not_read_a_large_dictionary_again(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    words = share([f"{n:0100}" for n in range(20_000)] + ["France"], 20_001)
    batches = [make_batch(1, Geography=words[20_000:]) for _ in range(20)]
    monkeypatch.setattr("churn.tables.encode.simplify", _spy("churn.tables.encode.simplify", seen))
    blocks = read_blocks(scorer, write(*batches))
    assert [block.total for block in blocks] == [1] * 20
    assert max(seen) == 1


def _spy(name: str, seen: list[int]) -> Any:
    from churn.tables import encode

    plain = getattr(encode, name.rpartition(".")[2])

    def spy(column: pa.Array, **options: Any) -> pa.Array:
        seen.append(len(column))
        return plain(column, **options)

    return spy


def test_rows_without_bytes_are_refused_before_they_are_decoded(client: TestClient) -> None:
    batch = pa.RecordBatch.from_pydict({name: pa.nulls(10**6) for name in CUSTOMER})
    detail = assert_problem(post(client, write(batch), ARROW), 400, "malformed-arrow")["detail"]
    assert "1000000 rows" in detail


def test_a_column_of_nulls_beside_others_is_read(client: TestClient) -> None:
    batch = make_batch(20_000, Geography=pa.nulls(20_000))
    document = assert_problem(post(client, write(batch), ARROW), 422, "invalid-customers")
    assert {error["field"] for error in document["errors"]} == {"Geography"}


def grow(batches: int, each: int) -> list[pa.RecordBatch]:
    """Return batches whose dictionary grows."""
    words = [f"{n:040}" for n in range(batches * each)]
    return [make_batch(1, Geography=share(words[: each * (n + 1)], 1)) for n in range(batches)]


def test_a_dictionary_may_be_extended(scorer: Scorer) -> None:
    blocks = read_blocks(scorer, write(*grow(50, 100), deltas=True))
    assert [block.total for block in blocks] == [1] * 50


def test_a_dictionary_that_is_extended_again_and_again_is_refused(client: TestClient, bank_models: Path) -> None:
    body = write(*grow(50, 100), deltas=True)
    assert post(client, body, ARROW, "?on_error=reject").status_code == 200
    with start(bank_models, max_body_bytes=300_000) as limited:
        detail = assert_problem(post(limited, body, ARROW), 400, "malformed-arrow")["detail"]
    assert "extended too often" in detail


def test_dictionaries_without_a_batch_are_not_held_without_end(bank_models: Path) -> None:
    words = [share([f"{n}" * 1000], 1) for n in range(300)]
    body = write(*[make_batch(1, Geography=one) for one in words])
    messages = list(ipc.MessageReader.open_stream(body))
    dictionaries = [message for message in messages if message.type == "dictionary"]
    assert len(dictionaries) == 300
    sink = pa.BufferOutputStream()
    for message in [messages[0], *dictionaries]:
        message.serialize_to(sink)
    with start(bank_models, max_body_bytes=100_000) as client:
        response = post(client, sink.getvalue().to_pybytes(), ARROW)
        assert "all dictionaries" in assert_problem(response, 413, "body-too-large")["detail"]
        assert post(client, body, ARROW, "?on_error=reject").status_code == 200  # a batch uses each of them


@pytest.mark.parametrize("media_type", [ARROW, CSV])
def test_too_many_columns_are_refused(bank_models: Path, media_type: str) -> None:
    row = CUSTOMER | {f"c{n}": 1 for n in range(100)}
    table = to_csv([row]) if media_type == CSV else to_arrow([row])
    with start(bank_models, max_columns=100) as client:
        detail = assert_problem(post(client, table, media_type), 413, "too-many-columns")["detail"]
        assert "110 columns; allowed: 100" in detail
        assert read_metrics(client)['churn_limited_requests_total{limit="max_columns"}'] == 1


def test_a_record_without_an_end_is_refused(bank_models: Path) -> None:
    table = to_csv([CUSTOMER | {"Notes": "x" * 10**6}])
    with start(bank_models, max_record_bytes=2000) as client:
        detail = assert_problem(post(client, table), 413, "body-too-large")["detail"]
        assert "2000 bytes (CHURN_MAX_RECORD_BYTES)" in detail
        assert read_metrics(client)['churn_limited_requests_total{limit="max_record_bytes"}'] == 1
        assert post(client, to_csv([CUSTOMER] * 100)).status_code == 200


def test_many_short_rows_are_read_in_small_blocks(scorer: Scorer) -> None:
    body = to_csv([CUSTOMER]) + b",\n" * 100_000
    job = TableJob(scorer, "csv", rejects=True)
    totals = [block.scored.total for block in job.work(body, last=True, pack=lambda: False) if block.scored]
    assert sum(totals) == 100_001
    assert max(totals) < 60_000


def test_comments_without_end_are_refused(client: TestClient) -> None:
    assert post(client, b"# a comment\n" * 150 + to_csv([CUSTOMER])).status_code == 200
    detail = assert_problem(post(client, b"#\n" * 100_000 + to_csv([CUSTOMER])), 400, "malformed-csv")["detail"]
    assert "lines above the header start with #" in detail


@pytest.mark.parametrize(
    ("row", "most"),
    [
        (b"15634602,619,France,Female,42,2,0.0,1,1,1,101348.88\n", csv_table.BLOCK_LINES),
        (b"15634602,619,Fr\xc3\xa9,Female,42,2,0.0,1,1,1,101348.88\n", csv_table.BLOCK_LINES),
        (b"?,?,?,?,?,?,?,?,?,?,?\n", csv_table.SHORT_LINES),
        (b"15634602,619,Fr\xe9,Female,42,2,0.0,1,1,1,101348.88\n", csv_table.UNREADABLE_LINES),
        (b"\n", csv_table.SHORT_LINES),
    ],
)
def test_rows_that_may_all_be_explained_are_read_in_smaller_blocks(row: bytes, most: int) -> None:
    data = row * 30_000
    pieces = list(csv_table._divide(data, 11))
    assert b"".join(piece for piece, _ in pieces) == data
    assert [is_end for _, is_end in pieces] == [False] * (len(pieces) - 1) + [True]
    assert most * 0.9 < max(piece.count(b"\n") for piece, _ in pieces) <= most + 1
