"""Starts from an earlier version: what was chosen for it, or its preprocessor and weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import joblib
import keras
from sklearn.exceptions import InconsistentVersionWarning

import churn.layers  # noqa: F401  registers custom layers
from churn.bundle import KERAS_FILE, PREPROCESSOR_FILE, check_library, read_bundle
from churn.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sklearn.pipeline import Pipeline

    from churn.preprocessing import Preprocessor
    from churn.schema import Schema


@dataclass(frozen=True, slots=True)
class EarlierModel:
    """An earlier version to start from.

    Attributes
    ----------
    transformer, preprocessor : Pipeline, Preprocessor
    model : keras.Model
    choice : mapping
        Of the default network: depth of the trees and the features left out.
    """

    transformer: Pipeline
    preprocessor: Preprocessor
    model: keras.Model
    choice: Mapping[str, Any] = field(default_factory=dict)


def load_earlier(folder: Path, schema: Schema, network: str) -> EarlierModel:
    """Load a verified bundle to go on training from.

    Raises
    ------
    BundleError
        If the bundle is damaged, was written by another library version, contains another network, or has a schema
        with other names, kinds, categories or missing values.
    """
    manifest = read_bundle(folder).manifest
    if manifest.schema.fingerprint != schema.fingerprint:
        raise BundleError(
            f"{folder}: no warm start: its columns ({', '.join(manifest.schema.names)}) differ from the table's "
            f"({', '.join(schema.names)}) in name, order, kind, categories or missing values"
        )
    name = manifest.content["network"]["name"]
    if name != network:
        raise BundleError(f"{folder}: no warm start: it contains the {name} network, but {network} is trained")
    check_library(manifest, "keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            transformer = joblib.load(folder / PREPROCESSOR_FILE)
        except InconsistentVersionWarning as warning:
            raise BundleError(f"{folder / PREPROCESSOR_FILE}: {warning}") from warning
    model = keras.saving.load_model(folder / KERAS_FILE, compile=False, safe_mode=True)
    return EarlierModel(transformer, manifest.preprocessor, model, manifest.content["network"].get("choice", {}))
