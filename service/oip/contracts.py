"""Response models and error responses of the Open Inference Protocol, for the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.oip.outputs import MODEL_NAME, OUTPUTS, REASON_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_SIZE_HEADER = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data"]
PLATFORMS = {"onnx": "onnxruntime_onnx", "tensorflow": "tensorflow_keras"}


class V2Error(BaseModel):
    """An error response of the protocol."""

    error: str = Field(description="What went wrong, and what is allowed.")


class ServerLive(BaseModel):
    """Liveness of the server."""

    live: Literal[True] = True


class ServerReady(BaseModel):
    """Readiness of the server."""

    ready: Literal[True] = True


class ModelReady(ServerReady):
    """Readiness of the model."""

    name: str = Field(description="Name of the model.", examples=[MODEL_NAME])


class ServerMetadata(BaseModel):
    """Metadata of the server."""

    name: str
    version: str
    extensions: list[str] = Field(description="Extensions of the protocol.", examples=[EXTENSIONS])


class TensorMetadata(BaseModel):
    """Metadata of an input or output tensor."""

    name: str = Field(description="Name of a feature or of an output.", examples=["Age"])
    datatype: str = Field(description="Preferred datatype; others are converted.", examples=["INT64"])
    shape: list[int] = Field(description="-1: any number of customers.", examples=[[-1]])


class ModelMetadata(BaseModel):
    """Metadata of the model being served."""

    name: str = Field(examples=[MODEL_NAME])
    versions: list[str] = Field(description="The version being served.", examples=[["1"]])
    platform: str = Field(examples=list(PLATFORMS.values()))
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OutputTensor(TensorMetadata):
    """An output tensor, with its elements in `data` or in the binary part."""

    parameters: dict[str, Any] | None = Field(None, description="`binary_data_size` if the data are binary.")
    data: list[float] | list[bool] | list[str] | None = Field(
        None, description="One element per customer, or per customer and reason, in order."
    )


class InferenceAnswer(BaseModel):
    """Response to an inference request."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str = Field(examples=[MODEL_NAME])
    model_version: str = Field(description="Version of the model used.", examples=["1"])
    id: str | None = Field(None, description="Identifier of the request, if it had one.")
    outputs: list[OutputTensor] = Field(
        description="With a canary, also `model_version` of each customer if two versions have scored them."
    )


_TENSOR_SCHEMA = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string", "description": "Name of the feature, or of the identifier."},
        "datatype": {"type": "string", "description": "Datatype of the elements, e.g. INT64, FP64, BOOL, BYTES."},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
        "parameters": {"type": "object", "description": "`binary_data_size` if the data are binary."},
        "data": {"type": "array", "description": "One element per customer.", "items": {}},
    },
}
_REQUEST_SCHEMA = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Returned with the response."},
        "parameters": {
            "type": "object",
            "description": "`binary_data_output`: return all outputs as binary data. `reasons`: number of reasons for "
            f"each customer, or `all`; then there are further outputs: {', '.join(REASON_OUTPUTS)}.",
        },
        "inputs": {
            "type": "array",
            "items": _TENSOR_SCHEMA,
            "minItems": 1,
            "description": "One tensor per feature, and one with the customers' identifiers if they have any.",
        },
        "outputs": {
            "type": "array",
            "description": "The requested outputs; all if omitted.",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": [*OUTPUTS, *REASON_OUTPUTS]},
                    "parameters": {
                        "type": "object",
                        "description": "`binary_data`: return this output as binary data.",
                    },
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
            "description": "Length of the JSON part in bytes if binary data follow it.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _REQUEST_SCHEMA}, "application/octet-stream": BINARY},
    },
}
# Described here, because FastAPI would add its own 422 response to a route with a parameter.
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
NOT_FOUND = {404: "This version is not being served."}
NOT_READY = {503: "Not ready; the error has the reason. Try again after Retry-After."}
INFER_PROBLEMS = {
    400: "The body is not JSON, or its tensors don't match the model.",
    409: "Reasons were asked for, and the model has no background or can't be explained; retrain it.",
    413: "The body or the number of customers exceeds a limit, which the error states.",
    415: "The body is compressed.",
    422: "Some values can't be scored; the error lists the first ones.",
    500: "Internal error; the log has the details under the identifier in the error.",
    503: "No model is ready, or too much work is pending. Try again after Retry-After.",
}


def describe_errors(problems: Mapping[int, str]) -> dict[int | str, Any]:
    """Return the error responses of an operation by status."""
    return {status: {"model": V2Error, "description": words} for status, words in problems.items()}
