"""Columns of any name and Unicode form, in every form of a request and of a table: what is published can be served."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import struct
import unicodedata
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from bundles import publish
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, ipc, parquet
from running import start
from table_requests import ARROW, CSV, post, read_arrow, read_csv, to_arrow, to_csv

from batch.files.job import FileJob, score_file
from batch.sql.job import SqlJob, score_query
from churn.columns import encode_columns
from churn.feature import MISSING_WORDS, Feature
from churn.schema import Schema
from churn.scorer import load_scorer
from churn.tables.encode import encode_batch
from service.predict.fast_parse import FastParser

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

Customer = dict[str, Any]

NAMES = [
    "plain", "größe in cm", "cafe\u0301", "a,b", "a;b", "a.b", "a`b", "it's", "100 %", "a:b", ":a", "%(a)s", "[a]",
    "{a}", "$a", "a/b", "#a", "--", "/* a */", "class", "select", "Δ", "客户", "😀", "identifier", "column", "value",
    "reason", "index", "line", "id", "customers_", "customer", "name", "datatype", "_", "0",
]  # fmt: skip
"""Names a feature or the identifier may have, with what CSV, SQL, JSON, Spark and our own tables give a meaning."""

FEATURES_ALONE = [
    "probability", "churn", "model_version", "warnings", "error", "row", "reasons", 'say "hi"', "back\\slash",
    "x" * 255,
]  # fmt: skip
"""Names that a feature may have and the identifier may not."""


def json_of(client: Any, customers: list[Customer], identifier: str) -> list[Any]:
    """Score by JSON, each customer alone and all at once; both must agree."""
    body = json.dumps({"customers": customers}, ensure_ascii=False).encode()
    batch = post(client, body, "application/json")
    assert batch.status_code == 200, batch.text
    alone = [client.post("/predict", json=customer).json() for customer in customers]
    found = [(one.get(identifier), one["probability"]) for one in batch.json()["predictions"]]
    assert [(one.get(identifier), one["probability"]) for one in alone] == found
    return found


def tensors_of(client: Any, customers: list[Customer], identifier: str) -> list[Any]:
    inputs = []
    for name in customers[0]:
        if unicodedata.normalize("NFC", name) != identifier:
            values = [customer[name] for customer in customers]
            datatype = "BYTES" if isinstance(values[0], str) else "FP64"
            inputs.append({"name": name, "shape": [len(values)], "datatype": datatype, "data": values})
    answer = client.post("/v2/models/churn/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    [probabilities] = [output["data"] for output in answer.json()["outputs"] if output["name"] == "probability"]
    binary: list[dict[str, Any]] = [dict(one) for one in inputs]
    tail = b""
    for one in binary:
        values = one.pop("data")
        if one["datatype"] == "BYTES":
            part = b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in values)
        else:
            part = np.array(values, "<f8").tobytes()
        one["parameters"] = {"binary_data_size": len(part)}
        tail += part
    head = json.dumps({"inputs": binary}).encode()
    size = {"Inference-Header-Content-Length": str(len(head))}
    again = client.post("/v2/models/churn/infer", content=head + tail, headers=size)
    assert again.json()["outputs"] == answer.json()["outputs"]
    return probabilities


def csv_of(client: Any, customers: list[Customer], identifier: str) -> list[Any]:
    answer = post(client, to_csv(customers), CSV, "?on_error=reject")
    assert answer.status_code == 200, answer.text
    return [(row[identifier], float(row["probability"])) for row in read_csv(answer.content)]


def arrow_of(client: Any, customers: list[Customer], identifier: str) -> list[Any]:
    answer = post(client, to_arrow(customers), ARROW)
    assert answer.status_code == 200, answer.text
    return [(row[identifier], row["probability"]) for row in read_arrow(answer.content)]


def files_of(scorer: Scorer, customers: list[Customer], identifier: str, folder: Path) -> list[Any]:
    """Score by every form of file into every form of file; all must agree."""
    table = pa.Table.from_pylist(customers)
    (folder / "in.csv").write_bytes(to_csv(customers))
    parquet.write_table(table, folder / "in.parquet")
    feather.write_feather(table, folder / "in.arrow")
    with ipc.new_stream(folder / "in.arrows", table.schema) as writer:
        writer.write_table(table)
    found = []
    for form, read in (
        ("csv", lambda path: list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))),
        ("parquet", lambda path: parquet.read_table(path).to_pylist()),
        ("arrow", lambda path: feather.read_table(path).to_pylist()),
        ("arrows", lambda path: ipc.open_stream(path.read_bytes()).read_all().to_pylist()),
    ):
        summary = score_file(scorer, FileJob(str(folder / f"in.{form}"), str(folder / f"out.{form}")))
        assert summary["rejected"] == 0
        assert summary["notes"] == []
        found.append([(row[identifier], float(row["probability"])) for row in read(folder / f"out.{form}")])
    assert found == found[:1] * len(found)
    return found[0]


def sql_of(scorer: Scorer, customers: list[Customer], identifier: str, folder: Path) -> list[Any]:
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in customers[0])
    with closing(sqlite3.connect(folder / "bank.db")) as database:
        database.execute(f"CREATE TABLE bank ({quoted})")
        marks = ", ".join("?" * len(customers[0]))
        rows = [tuple(customer.values()) for customer in customers]
        database.executemany(f"INSERT INTO bank VALUES ({marks})", rows)
        database.commit()
        score_query(scorer, SqlJob("SELECT * FROM bank; -- all", f"sqlite:///{folder}/bank.db", "scores"))
        cursor = database.execute("SELECT * FROM scores ORDER BY 1")
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
    own = [name for name in names if unicodedata.normalize("NFC", name) == identifier]
    return [(row[own[0]], row["probability"]) for row in found]


def assert_served(schema: Schema, customers: list[Customer], folder: Path) -> None:
    """See that every way to score these customers gives the same."""
    model = publish(
        folder / "models", schema, {name: value for name, value in customers[0].items() if name in schema.names}
    )
    scorer, identifier = load_scorer(model, "onnx"), schema.identifier
    expected = files_of(scorer, customers, identifier, folder)
    assert [name for name, _ in expected] == ["a", "b"]
    assert sql_of(scorer, customers, identifier, folder) == expected
    with start(folder / "models") as client:
        assert json_of(client, customers, identifier) == expected
        assert csv_of(client, customers, identifier) == expected
        assert arrow_of(client, customers, identifier) == expected
        assert tensors_of(client, customers, identifier) == [probability for _, probability in expected]
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/v2/models/churn").status_code == 200
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("name", [*NAMES, *FEATURES_ALONE])
def test_a_feature_of_any_name_is_served(name: str, tmp_path: Path) -> None:
    schema = Schema((Feature(name, "number"), Feature("Land", "category", categories=("x", "y"))), "left", "client no")
    name = schema.names[0]
    customers = [{"client no": "a", name: 1.5, "Land": "x"}, {"client no": "b", name: -2.0, "Land": "y"}]
    assert_served(schema, customers, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_an_identifier_of_any_name_is_served(name: str, tmp_path: Path) -> None:
    schema = Schema((Feature("Age", "number"), Feature("Land", "category", categories=("x", "y"))), "left", name)
    name = schema.identifier
    customers = [{name: "a", "Age": 1.5, "Land": "x"}, {name: "b", "Age": -2.0, "Land": "y"}]
    assert_served(schema, customers, tmp_path)


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("sent", ["NFC", "NFD"])
def test_names_and_categories_are_the_same_in_every_unicode_form(sent: str, stored: str, tmp_path: Path) -> None:
    def of(form: Any, text: str) -> str:
        return unicodedata.normalize(form, text)

    words = tuple(of(stored, word) for word in ("café", "Ångström", "tea", "각"))
    schema = Schema(
        (Feature(of(stored, "größe"), "number"), Feature(of(stored, "café"), "category", categories=words)),
        "left",
        of(stored, "Kündigungsnr"),
    )
    customers = [
        {of(sent, "Kündigungsnr"): key, of(sent, "größe"): size, of(sent, "café"): of(sent, word)}
        for key, size, word in (("a", 1.5, "Ångström"), ("b", -2.0, "각"))
    ]
    normal = {of("NFC", name): value for name, value in customers[0].items()}
    model_row = {name: normal[name] for name in schema.names}
    publish(tmp_path / "other", schema, model_row)
    scorer = load_scorer(tmp_path / "other" / "1", "onnx")
    assert scorer.schema.identifier == of("NFC", "Kündigungsnr")
    expected = files_of(scorer, customers, scorer.schema.identifier, tmp_path)
    assert sql_of(scorer, customers, scorer.schema.identifier, tmp_path) == expected
    with start(tmp_path / "other") as client:
        for way in (json_of, csv_of, arrow_of):
            assert way(client, customers, scorer.schema.identifier) == expected
        assert tensors_of(client, customers, scorer.schema.identifier) == [one for _, one in expected]


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=6
).filter(lambda word: word not in MISSING_WORDS)  # which no category can be


@given(st.lists(WORDS, min_size=1, max_size=4, unique_by=lambda word: unicodedata.normalize("NFC", word)), st.data())
def test_a_category_is_the_same_in_every_unicode_form(words: list[str], data: st.DataObject) -> None:
    schema = Schema((Feature("drink", "category", categories=tuple(words)),), "left", "id")
    chosen = data.draw(st.sampled_from(range(len(words))))
    sent = unicodedata.normalize(data.draw(st.sampled_from(["NFC", "NFD"])), words[chosen])
    assert schema["drink"].encode(sent) == chosen
    assert encode_columns(schema, {"drink": [sent]}).tolist() == [[chosen]]
    parser = FastParser(schema, 9)
    for ascii_only in (True, False):
        one = json.dumps({"drink": sent}, ensure_ascii=ascii_only).encode()
        assert list(parser.parse(one).row) == [chosen]  # type: ignore[union-attr]
        assert parser.parse(b'{"customers": [%s]}' % one).raw.tolist() == [[chosen]]  # type: ignore[union-attr]
    if sent.strip() == sent:  # tables take blanks off
        for column in (pa.array([sent]), pa.array([sent]).dictionary_encode()):
            batch = pa.record_batch([column], names=["drink"])
            assert encode_batch(schema, batch).check().tolist() == [[chosen]]
