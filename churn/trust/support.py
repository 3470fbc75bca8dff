"""Checks of what a version knows of its training customers: the neighbours that a customer's support is measured by."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.errors import BundleError
from churn.support import Axis, Members, Space, SupportData
from churn.trust.numbers import decode_numbers
from churn.trust.regular import read_regular

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.schema import Schema

NEIGHBOURS_FILE, MEMBERS_FILE = "neighbours.npy", "members.onnx"

MAX_ROWS = 4096
"""Larger sets of neighbours are rejected: the time of an answer grows with them."""

_HEADER_BYTES = 4096


def read_support(
    folder: Path, content: Mapping[str, Any], schema: Schema, files: Container[str]
) -> SupportData | None:  # fmt: skip
    """Read what a version whose files were verified knows of its training customers; None if it knows nothing.

    Parameters
    ----------
    folder : Path
    content : mapping
        The manifest.
    schema : Schema
    files : container of str
        Names of the files that the manifest lists.

    Raises
    ------
    BundleError
        If the entry or a file is not valid; the message says what is allowed.
    """
    entry = content.get("support")
    if entry is None:
        return None
    members = entry.get("members")
    try:
        _check_files([NEIGHBOURS_FILE, MEMBERS_FILE][: 1 if members is None else 2], files)
        space = _read_space(entry, schema)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    path = folder / NEIGHBOURS_FILE
    data = read_regular(path, _HEADER_BYTES + 4 * MAX_ROWS * space.width)
    try:
        reference = _decode_reference(data, entry, space)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return SupportData(
        space,
        reference,
        entry["neighbours"],
        np.array(entry["distances"]),
        np.array(entry["usual"]),
        None if members is None else Members((folder / MEMBERS_FILE).read_bytes(), **members),
    )


def _check_files(needed: list[str], files: Container[str]) -> None:
    for name in needed:
        if name not in files:
            raise BundleError(f"support: needs {name}, which is not listed in files")


def _decode_reference(data: bytes, entry: Mapping[str, Any], space: Space) -> NDArray[np.float32]:
    reference: NDArray[np.float32] = decode_numbers(data, "<f4", space.width, MAX_ROWS)
    if not np.isfinite(reference).all():
        raise BundleError("has numbers that are not finite")
    if len(reference) < entry["neighbours"]:
        raise BundleError(f"has {len(reference)} rows; allowed: at least {entry['neighbours']}, support.neighbours")
    return reference


def _read_space(entry: Mapping[str, Any], schema: Schema) -> Space:
    """Read the axes of the manifest's entry.

    Raises
    ------
    BundleError
        If they contradict the schema or themselves.
    """
    axes = tuple(Axis(**axis) for axis in entry["axes"])
    sources = [axis.source for axis in axes]
    if any(a >= b for a, b in pairwise(sources)) or (sources and sources[-1] >= len(schema.features)):
        raise BundleError(
            f"support.axes: has the columns {sources}; allowed: ascending ones from 0 to {len(schema.features) - 1}"
        )
    for axis in axes:
        feature = schema.features[axis.source]
        if bool(axis.scale) != feature.is_quantity:
            raise BundleError(f"support.axes: {feature.name} is of kind {feature.kind}, which has another kind of axis")
    if len(entry["usual"]) != len(axes):
        raise BundleError(f"support.usual: has {len(entry['usual'])} numbers; allowed: {len(axes)}, one for each axis")
    if any(a > b for a, b in pairwise(entry["distances"])):
        raise BundleError("support.distances: must ascend")
    return Space(axes)
