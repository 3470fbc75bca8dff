"""A network that knows the month of a date gives the same probability in every form in which the date may come."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from pyarrow import csv, feather, parquet
from running import start
from table_requests import ARROW, post, read_arrow, read_csv, to_arrow, to_csv

from churn.database import open_database
from churn.scorer import load_scorer
from cli.main import churn
from training import job
from training.dataset import load_dataset
from training.default.config import Config
from training.default.presets import make_quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

ROWS = 1500
FORM = "%d.%m.%Y"
Customers = list[dict[str, Any]]


def draw_customers() -> tuple[Customers, list[int]]:
    """Draw customers who leave if they joined in December, and now and then otherwise; some have no date."""
    generator = np.random.default_rng(0)
    days = [date(2011, 3, 1) + timedelta(days=int(day)) for day in generator.integers(0, 3000, ROWS)]
    known = generator.random(ROWS) < 0.95
    chance = np.where([day.month == 12 and bool(one) for day, one in zip(days, known, strict=True)], 0.8, 0.1)
    customers = [
        {"CustomerId": f"c{row}", "Age": int(age), "Joined": day if one else None}
        for row, (age, day, one) in enumerate(zip(generator.integers(18, 90, ROWS), days, known, strict=True))
    ]
    return customers, (generator.random(ROWS) < chance).astype(int).tolist()


CUSTOMERS, LABELS = draw_customers()
DAYS: list[date | None] = [one["Joined"] for one in CUSTOMERS]


def write_days(turn: Callable[[date], Any]) -> list[Any]:
    return [None if day is None else turn(day) for day in DAYS]


def with_days(days: list[Any]) -> Customers:
    return [{**one, "Joined": day} for one, day in zip(CUSTOMERS, days, strict=True)]


AS_TABLE, AS_ISO = write_days(lambda day: day.strftime(FORM)), write_days(date.isoformat)
AS_TIMES = write_days(lambda day: datetime(day.year, day.month, day.day))
COLUMNS: dict[str, pa.Array] = {
    "text in the form of the column": pa.array(AS_TABLE),
    "ISO text": pa.array(AS_ISO, pa.large_string()),
    "dictionary": pa.array(AS_TABLE).dictionary_encode(),
    "date32": pa.array(DAYS, pa.date32()),
    "date64": pa.array(DAYS, pa.date64()),
    "timestamp[s]": pa.array(AS_TIMES, pa.timestamp("s")),
    "timestamp[ns]": pa.array(AS_TIMES, pa.timestamp("ns")),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a version trained by `--quick`, that has the month as an input."""
    folder = tmp_path_factory.mktemp("month")
    rows = [{**one, "Left": left} for one, left in zip(with_days(AS_TABLE), LABELS, strict=True)]
    (folder / "bank.csv").write_bytes(to_csv([{k: "" if v is None else v for k, v in row.items()} for row in rows]))
    dataset = load_dataset(folder / "bank.csv", label="Left", identifier="CustomerId")
    assert (dataset.schema["Joined"].kind, dataset.schema["Joined"].format) == ("date", FORM)
    outcome = job.train(dataset, folder / "models", job.Options(config=make_quick(Config())))
    assert "Joined: month" in outcome.trained.fitted.preprocessor.names
    return folder / "models"


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with start(models) as client:
        yield client


@pytest.fixture(scope="module")
def expected(models: Path) -> list[float]:
    """What the scorer says of the raw matrix, without any text."""
    days = [np.nan if day is None else (day - date(1970, 1, 1)).days for day in DAYS]
    scorer = load_scorer(models / "1", "onnx")
    raw = {"Age": [one["Age"] for one in CUSTOMERS], "Joined": days}
    return scorer.score_raw(np.column_stack([raw[name] for name in scorer.schema.names]).astype(float)).tolist()


def agree(found: list[Any], expected: list[float]) -> None:
    assert [float(one) for one in found] == pytest.approx(expected, abs=2e-6)


def test_december_is_told_from_the_months_beside_it(expected: list[float]) -> None:
    """Hold that a wrong month would be seen: a day moves the probability."""
    said = {month: np.mean([one for one, day in zip(expected, DAYS, strict=True) if day and day.month == month])
            for month in (11, 12, 1)}  # fmt: skip
    assert said[12] > 0.5
    assert max(said[11], said[1]) < 0.25
    assert len({round(one, 4) for one in expected}) > 100


@pytest.mark.parametrize("days", [AS_TABLE, AS_ISO], ids=["form of the column", "ISO"])
def test_json(client: TestClient, expected: list[float], days: list[Any]) -> None:
    customers = with_days(days)
    answer = client.post("/predict", json={"customers": customers})
    assert answer.status_code == 200, answer.text
    agree([one["probability"] for one in answer.json()["predictions"]], expected)
    agree([client.post("/predict", json=one).json()["probability"] for one in customers[:40]], expected[:40])
    lenient = [client.post("/predict?texts=parse&extra=ignore", json=one | {"x": 1}).json() for one in customers[:40]]
    agree([one["probability"] for one in lenient], expected[:40])


@pytest.mark.parametrize("days", [AS_TABLE, AS_ISO], ids=["form of the column", "ISO"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_csv_over_http(client: TestClient, expected: list[float], days: list[Any], separator: str) -> None:
    rows = [{name: "" if cell is None else cell for name, cell in row.items()} for row in with_days(days)]
    answer = post(client, to_csv(rows, separator))
    assert answer.status_code == 200, answer.text
    agree([row["probability"] for row in read_csv(answer.content)], expected)


@pytest.mark.parametrize("kind", COLUMNS)
def test_arrow_over_http(client: TestClient, expected: list[float], kind: str) -> None:
    answer = post(client, to_arrow(CUSTOMERS, 400, Joined=COLUMNS[kind]), ARROW)
    assert answer.status_code == 200, answer.text
    agree([row["probability"] for row in read_arrow(answer.content)], expected)


def test_the_inference_protocol(client: TestClient, expected: list[float]) -> None:
    known = [row for row, day in enumerate(DAYS) if day is not None]
    inputs = [
        {"name": "Age", "datatype": "INT64", "shape": [len(known)], "data": [CUSTOMERS[row]["Age"] for row in known]},
        {"name": "Joined", "datatype": "BYTES", "shape": [len(known)], "data": [AS_TABLE[row] for row in known]},
    ]
    answer = client.post("/v2/models/churn/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    agree(answer.json()["outputs"][0]["data"], [expected[row] for row in known])


def score(models: Path, *arguments: str) -> None:
    answer = CliRunner().invoke(churn, ["score", *arguments, "--models", str(models), "--engine", "onnx"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("days", [AS_TABLE, AS_ISO], ids=["form of the column", "ISO"])
def test_score_of_a_csv(models: Path, expected: list[float], tmp_path: Path, days: list[Any]) -> None:
    rows = [{name: "" if cell is None else cell for name, cell in row.items()} for row in with_days(days)]
    (tmp_path / "customers.csv").write_bytes(to_csv(rows))
    score(models, str(tmp_path / "customers.csv"), "--output", str(tmp_path / "scores.csv"))
    agree(csv.read_csv(tmp_path / "scores.csv").column("probability").to_pylist(), expected)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("kind", COLUMNS)
def test_score_of_typed_columns(models: Path, expected: list[float], tmp_path: Path, kind: str, form: str) -> None:
    table = pa.Table.from_pylist(CUSTOMERS)
    table = table.set_column(table.schema.names.index("Joined"), "Joined", COLUMNS[kind])
    path = tmp_path / f"customers.{form}"
    (parquet.write_table if form == "parquet" else feather.write_feather)(table, path)
    score(models, str(path), "--output", str(tmp_path / "scores.parquet"))
    agree(parquet.read_table(tmp_path / "scores.parquet").column("probability").to_pylist(), expected)


@pytest.mark.parametrize(
    ("database", "kind", "days"),
    [
        ("sqlite", "TEXT", AS_TABLE),
        ("sqlite", "DATE", AS_ISO),
        ("postgresql", "TEXT", AS_TABLE),
        ("postgresql", "DATE", DAYS),
        ("postgresql", "TIMESTAMP", AS_TIMES),
    ],
)
def test_a_query(
    request: pytest.FixtureRequest, models: Path, expected: list[float], tmp_path: Path, database: str, kind: str,
    days: list[Any],
) -> None:  # fmt: skip
    url = request.getfixturevalue("server") if database == "postgresql" else f"sqlite:///{tmp_path / 'bank.db'}"
    (tmp_path / "bank.db").touch()
    table = sa.table("customers", sa.column("number"), sa.column("Age"), sa.column("Joined"))
    rows = [{"number": n, "Age": one["Age"], "Joined": day} for n, (one, day) in
            enumerate(zip(CUSTOMERS, days, strict=True))]  # fmt: skip
    with open_database(url).engine.begin() as connection:
        for name in ("customers", "scores", "scores_rejects"):
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
        connection.execute(sa.text(f'CREATE TABLE customers (number INTEGER, "Age" INTEGER, "Joined" {kind})'))
        connection.execute(sa.insert(table), rows)
    score(models, "--sql", "SELECT * FROM customers", "--url", url, "--table", "scores", "--key", "number")
    with open_database(url).engine.connect() as connection:
        found = connection.execute(sa.text("SELECT probability FROM scores ORDER BY number")).scalars().all()
    agree(list(found), expected)
