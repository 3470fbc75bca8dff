"""The limit for the service: FastAPI with plain pydantic models of the same columns and a constant response.

``CHURN_MODELS=models uvicorn --app-dir benchmarks limit_app:app``. Its cost is HTTP, FastAPI and pydantic; nothing is
preprocessed, scored or counted.
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
    """Response for one customer."""

    probability: float
    churn: bool


class Predictions(BaseModel):
    """Response for several customers."""

    predictions: list[Prediction]


ONE = Prediction(probability=0.1234, churn=False)
MANY = [ONE] * MOST


async def predict(customer) -> Prediction:  # noqa: ANN001, ARG001  the annotation is set below
    """Return the constant response for one customer."""
    return ONE


async def predict_batch(batch) -> Predictions:  # noqa: ANN001  likewise
    """Return the constant response for several customers."""
    return Predictions.model_construct(predictions=MANY[: len(batch.customers)])


# The models are created at run time, so the annotations are set as objects.
predict.__annotations__.update(customer=Customer, **{"return": Prediction})
predict_batch.__annotations__.update(batch=Customers, **{"return": Predictions})


async def bare(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  types of ASGI
    """Return 40 bytes per customer without any framework, to measure the cost of the HTTP server."""
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
