"""The limit that serving is compared with: FastAPI, the plainest pydantic models of our columns, a constant answer.

``CHURN_MODELS=models uvicorn --app-dir benchmarks limit_app:app``. What this costs is HTTP, FastAPI and pydantic;
nothing is preprocessed, scored or counted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

from churn.bundle import read_bundle
from churn.registry import Registry

TYPES: dict[str, Any] = {"number": float, "integer": int, "flag": int}
MOST = 100_000

schema = read_bundle(Registry(Path(os.environ.get("CHURN_MODELS", "models"))).current_folder()).manifest.schema
fields: dict[str, Any] = {
    f"f{i}": (
        Literal[feature.categories] if feature.kind == "category" else TYPES[feature.kind],
        Field(None if feature.nullable else ..., alias=feature.name),
    )
    for i, feature in enumerate(schema.features)
}
Customer: Any = create_model("Customer", **fields)
Customers: Any = create_model("Customers", customers=(list[Customer], ...))


class Prediction(BaseModel):
    """What is said of one customer."""

    probability: float
    churn: bool


class Predictions(BaseModel):
    """What is said of many."""

    predictions: list[Prediction]


ONE = Prediction(probability=0.1234, churn=False)
MANY = [ONE] * MOST


async def predict(customer) -> Prediction:  # noqa: ANN001, ARG001  the annotation is set below
    """Answer for one."""
    return ONE


async def predict_batch(batch) -> Predictions:  # noqa: ANN001  likewise
    """Answer for many."""
    return Predictions.model_construct(predictions=MANY[: len(batch.customers)])


# The models are made while this runs, so the annotations are set as objects.
predict.__annotations__.update(customer=Customer, **{"return": Prediction})
predict_batch.__annotations__.update(batch=Customers, **{"return": Predictions})


async def bare(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  as ASGI has it
    """Answer with 40 bytes a customer and no framework at all: what the HTTP server itself costs."""
    if scope["type"] != "http":
        return
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    body += message.get("body", b"")
    answer = b" " * 40 * max(1, body.count(b"}") - 1)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


app = FastAPI()
app.post("/predict")(predict)
app.post("/predict_batch")(predict_batch)
