"""The Open Inference Protocol's JSON objects and errors: what the OpenAPI page shows of the routes under /v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.oip.tensors import MODEL_NAME, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_SIZE_HEADER = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data"]
PLATFORMS = {"onnx": "onnxruntime_onnx", "tensorflow": "tensorflow_keras"}


class V2Error(BaseModel):
    """An error, as the protocol has it."""

    error: str = Field(description="What went wrong, and what is allowed.")


class ServerLive(BaseModel):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(BaseModel):
    """Requests to score are welcome."""

    ready: Literal[True] = True


class ModelReady(ServerReady):
    """The model is loaded, and requests are welcome."""

    name: str = Field(description="Name of the model.", examples=[MODEL_NAME])


class ServerMetadata(BaseModel):
    """What serves."""

    name: str
    version: str
    extensions: list[str] = Field(description="Extensions of the protocol.", examples=[EXTENSIONS])


class TensorMetadata(BaseModel):
    """An input or output of the model."""

    name: str = Field(description="A feature's name, or an output's.", examples=["Age"])
    datatype: str = Field(description="The natural datatype; others are converted.", examples=["INT64"])
    shape: list[int] = Field(description="-1: any number of customers.", examples=[[-1]])


class ModelMetadata(BaseModel):
    """The model that is served, in the protocol's terms."""

    name: str = Field(examples=[MODEL_NAME])
    versions: list[str] = Field(description="The version that is served.", examples=[["1"]])
    platform: str = Field(examples=list(PLATFORMS.values()))
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OutputTensor(TensorMetadata):
    """An output: its elements are in `data`, or in the binary part."""

    parameters: dict[str, Any] | None = Field(None, description="`binary_data_size`, if the data are binary.")
    data: list[float] | list[bool] | None = Field(None, description="One element a customer, in their order.")


class InferenceAnswer(BaseModel):
    """The answer to an inference request."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str = Field(examples=[MODEL_NAME])
    model_version: str = Field(description="Version of the model that scored.", examples=["1"])
    id: str | None = Field(None, description="What the request was called, if it was.")
    outputs: list[OutputTensor]


_TENSOR_SCHEMA = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string", "description": "A feature's name."},
        "datatype": {"type": "string", "description": "Of its elements, e.g. INT64, FP64, BOOL, BYTES."},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
        "parameters": {"type": "object", "description": "`binary_data_size`, if the data are binary."},
        "data": {"type": "array", "description": "One element a customer.", "items": {}},
    },
}
_REQUEST_SCHEMA = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Comes back with the answer."},
        "parameters": {"type": "object", "description": "`binary_data_output`: all outputs as binary data."},
        "inputs": {"type": "array", "items": _TENSOR_SCHEMA, "minItems": 1, "description": "One tensor a feature."},
        "outputs": {
            "type": "array",
            "description": "The outputs that are wanted; all of them if left out.",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": list(OUTPUTS)},
                    "parameters": {"type": "object", "description": "`binary_data`: this one as binary data."},
                },
            },
        },
    },
}
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
INFER_REQUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": JSON_SIZE_HEADER,
            "in": "header",
            "description": "Length of the JSON in bytes, if binary data follow it.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _REQUEST_SCHEMA}, "application/octet-stream": BINARY},
    },
}
# Described here: FastAPI would add a 422 of its own to a route with a parameter it reads.
VERSION: dict[str, Any] = {
    "parameters": [
        {
            "name": "version",
            "in": "path",
            "required": True,
            "description": "Version of the model.",
            "schema": {"type": "string"},
        }
    ]
}
NOT_FOUND = {404: "This version is not served."}
NOT_READY = {503: "Not ready; the error says why. Try again after Retry-After."}
INFER_PROBLEMS = {
    400: "The body is not JSON, or its tensors do not fit the model.",
    413: "The body, or the number of customers, is over its limit, which is named.",
    415: "The body is compressed.",
    422: "Some values can't be scored: the first are named.",
    500: "The service failed; the log says more under the identifier that is named.",
    503: "No model is ready, or too much is waiting: try again after Retry-After.",
}


def describe_errors(problems: Mapping[int, str]) -> dict[int | str, Any]:
    """Return the responses of an operation that are errors, by status."""
    return {status: {"model": V2Error, "description": words} for status, words in problems.items()}
