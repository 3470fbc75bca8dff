"""Starts from an earlier version: what was chosen for it, or its preprocessor and weights.

Its `preprocessor.joblib` is not opened: a pickle can run any code. The manifest has the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras

import churn.layers  # noqa: F401  registers custom layers
from churn.bundle import KERAS_FILE, open_bundle
from churn.errors import BundleError
from churn.libraries import check_library
from training.precision import convert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from churn.preprocessing import Preprocessor
    from churn.schema import Schema


@dataclass(frozen=True, slots=True)
class EarlierModel:
    """An earlier version to start from.

    Attributes
    ----------
    preprocessor : Preprocessor
    model : keras.Model
    choice : mapping
        Of the default network: depth of the trees and the features left out.
    """

    preprocessor: Preprocessor
    model: keras.Model
    choice: Mapping[str, Any] = field(default_factory=dict)


def load_earlier(folder: Path, schema: Schema, network: str) -> EarlierModel:
    """Load a verified bundle to go on training from.

    Raises
    ------
    BundleError
        If the bundle is damaged, was written by another library version, contains another network, or has a schema
        with other names, kinds, categories or missing values; or if it isn't signed by a trusted key although one is
        required.
    KeyFileError
        If the trusted keys can't be read.
    """
    with open_bundle(folder) as bundle:
        manifest = bundle.manifest
        if manifest.schema.fingerprint != schema.fingerprint:
            raise BundleError(
                f"{folder}: no warm start: its columns ({', '.join(manifest.schema.names)}) differ from the table's "
                f"({', '.join(schema.names)}) in name, order, kind, categories or missing values"
            )
        name = manifest.content["network"]["name"]
        if name != network:
            raise BundleError(f"{folder}: no warm start: it contains the {name} network, but {network} is trained")
        check_library(manifest, "keras")
        model = keras.saving.load_model(bundle.folder / KERAS_FILE, compile=False, safe_mode=True)
    return EarlierModel(manifest.preprocessor, convert(model, "float32"), manifest.content["network"].get("choice", {}))
