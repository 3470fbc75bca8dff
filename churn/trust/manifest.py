"""Strict schema of `manifest.json`: the type and range of each entry that is used by code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from churn.errors import BundleError
from churn.horizon import MAX_HORIZON

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Version of the manifest format; other versions are rejected."""

MIN_GOLDEN_ROWS = 20

_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Position = Annotated[int, Meta(ge=0, le=2**31)]
_Number = Annotated[float, Meta(ge=-1e30, le=1e30)]  # float32 reaches 3e38
_Scale = Annotated[float, Meta(gt=1e-30, le=1e30)]
_Probability = Annotated[float, Meta(ge=0, le=1)]
_Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry all of whose keys are known."""


class _File(_Part, frozen=True):
    sha256: _Hash
    bytes: _Count


class _GoldenRow(_Part, frozen=True):
    customer: dict[str, str | int | float | bool | None]
    probability: _Probability


class _Histogram(_Part, frozen=True):
    counts: Annotated[list[_Count], Meta(min_length=1)]
    edges: list[float] | UnsetType = UNSET
    values: list[str] | UnsetType = UNSET
    missing: _Count = 0


class _DatePart(_Part, frozen=True):
    source: _Position
    part: str
    fill: _Number


class _Levels(_Part, frozen=True):
    source: _Position
    fold: int
    numbers: Annotated[list[_Number], Meta(min_length=1)]


class _Preprocessing(_Part, frozen=True):
    names: Annotated[list[str], Meta(min_length=1)]
    value_source: list[_Position]
    value_fill: list[_Number]
    value_spike: list[_Number | None]
    spike_fill: list[_Number]
    equal_source: list[_Position]
    equal_value: list[_Number]
    missing_source: list[_Position]
    center: list[_Number]
    scale: list[_Scale]
    parts: list[_DatePart] = []
    levels: list[_Levels] = []


class _Axis(_Part, frozen=True):
    source: _Position
    center: _Number = 0.0
    scale: Annotated[float, Meta(ge=0, le=1e30)] = 0.0
    spike: _Number | None = None


class _Members(_Part, frozen=True):
    factor: Annotated[float, Meta(ge=0, le=1000)]
    variance: Annotated[float, Meta(ge=0, le=1000)]


class _Support(_Part, frozen=True):
    axes: Annotated[list[_Axis], Meta(min_length=1)]
    neighbours: Annotated[int, Meta(ge=1, le=1000)]
    distances: Annotated[list[Annotated[float, Meta(ge=0, le=1e30)]], Meta(min_length=1, max_length=10_000)]
    usual: list[_Number]
    members: _Members | None = None


class _Interval(_Part, frozen=True):
    value: _Number
    low: _Number
    high: _Number


class _ThresholdRow(_Part, frozen=True):
    threshold: _Probability
    contacted: _Count
    leavers: _Count


class _Costs(_Part, frozen=True):
    customer_value: _Number
    offer_cost: _Number
    contact_cost: _Number
    accept_rate: _Probability


class _Evaluation(msgspec.Struct, frozen=True):
    part: str
    customers: _Count
    leavers: _Count
    scores: dict[str, _Interval]
    costs: _Costs
    thresholds: list[_ThresholdRow]
    caveat: str = ""


class _Network(msgspec.Struct, frozen=True):
    """Further keys describe the network, by its kind."""

    name: str
    warnings: list[str] = []
    choice: dict[str, Any] = {}


class _Settings(msgspec.Struct, frozen=True):
    """Further keys are options of the training."""

    horizon_days: Annotated[int, Meta(ge=1, le=MAX_HORIZON)] | None = None


class _Manifest(msgspec.Struct, frozen=True):
    """Further keys are allowed, so that a program can read the models of a newer one with the same format."""

    version: Annotated[int, Meta(ge=1, le=2**53)]
    schema: dict[str, Any]
    threshold: _Probability
    preprocessing: _Preprocessing
    golden: Annotated[list[_GoldenRow], Meta(min_length=MIN_GOLDEN_ROWS)]
    files: dict[str, _File]
    histograms: dict[str, _Histogram]
    score_histogram: _Histogram
    network: _Network
    libraries: dict[str, str]
    created: str | None = None
    program: str | None = None
    git_commit: str | None = None
    seed: int | None = None
    metrics: dict[str, dict[str, Any]] = {}
    data: dict[str, Any] = {}
    settings: _Settings = _Settings()
    support: _Support | UnsetType = UNSET
    evaluation: _Evaluation | None = None


def decode_manifest(data: bytes) -> dict[str, Any]:
    """Decode a manifest and check its format, and the type and range of each entry.

    Parameters
    ----------
    data : bytes
        UTF-8 encoded JSON. Unlike `json.loads`, this rejects NaN and infinite numbers.

    Returns
    -------
    dict
        The manifest as plain data.

    Raises
    ------
    BundleError
        If it is not valid; the message has the entry and what is allowed.
    """
    try:
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"is not valid JSON: {error}") from error
    except RecursionError as error:
        raise BundleError("is nested too deeply") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise BundleError(f"unknown format {found!r}; allowed: {FORMAT}")
    # One by one, since the path in an error message leaves out the keys of a mapping.
    for part, kind in (("files", _File), ("histograms", _Histogram)):
        entries = content.get(part)
        if isinstance(entries, dict):
            for name, entry in entries.items():
                _check(f"{part}.{name}", entry, kind)
    _check("", content, _Manifest)
    return content


def _check(where: str, value: object, kind: type[Any]) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        entry = (where + path.rstrip("`")).lstrip(".")
        raise BundleError(f"{entry}: {_reword(reason)}" if entry else _reword(reason)) from error


def _reword(reason: str) -> str:
    return (reason[0].lower() + reason[1:]).replace("`", "").replace("object ", "")


def list_files(content: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Return the SHA-256 and the size in bytes of each file that a decoded manifest lists.

    Raises
    ------
    BundleError
        If a name is not that of a file in the folder itself.
    """
    files = content["files"]
    for name in files:
        if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise BundleError(f"files: {name!r} is not the name of a file in the folder")
    return {name: (entry["sha256"], entry["bytes"]) for name, entry in files.items()}
