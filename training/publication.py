"""Write a trained model as a bundle, after verifying that its formats agree."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from churn import __version__
from churn.bundle import MANIFEST, MODEL_CARD_FILE, ONNX_FILE, PREPROCESSOR_FILE, REPORT_FILE, write_manifest
from churn.columns import as_customers
from churn.preprocessing import Preprocessor
from churn.reasons.explainer import EXACT_FEATURES, Explainer
from churn.reasons.networks import find_features
from churn.runtime.files import sync
from churn.trust.background import BACKGROUND_FILE
from churn.trust.signatures import write_signature
from churn.trust.support import read_support
from training import agreement, background, export, golden, histograms, provenance, support
from training.precision import convert
from training.preprocess import as_objects
from training.report import ReportData, describe_evaluation, write_model_card, write_report
from training.trained import FullStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.support import SupportData
    from churn.trust.keys import SigningKey
    from training.trained import FittedModel, Trained


def write_signed_bundle(folder: Path, version: int, trained: Trained, key: SigningKey) -> float:
    """Write the files of a model version and a signature.

    They are made in a private folder and then copied: whoever can write to the folder of the models could otherwise
    replace a file before its hash is taken, and have it signed.

    Parameters
    ----------
    folder : Path
    version : int
    trained : Trained
    key : SigningKey

    Returns
    -------
    float
        As `write_bundle`, which also says what is raised.
    """
    with tempfile.TemporaryDirectory(prefix="churn-") as name:
        private = Path(name)
        difference = write_bundle(private, version, trained)
        write_signature(private, (private / MANIFEST).read_bytes(), key)
        for path in sorted(private.iterdir()):
            shutil.copyfile(path, folder / path.name)
            sync(folder / path.name)
        sync(folder)
    return difference


def write_bundle(folder: Path, version: int, trained: Trained) -> float:
    """Write the files of a model version.

    Returns
    -------
    float
        Maximum absolute difference of a probability between the two formats of the network.

    Raises
    ------
    BundleError
        If the formats of the network or of the preprocessor differ.
    """
    dataset, fitted = trained.dataset, trained.fitted
    preprocessor = fitted.preprocessor
    export.export_network(fitted.served, folder)
    (folder / PREPROCESSOR_FILE).write_bytes(_pack_transformer(trained))
    # The two formats are compared on the rows used for cross-validation, on made-up and on the golden ones.
    golden_raw = golden.draw_golden_rows(dataset.schema, dataset.raw, trained.settings["seed"])
    sample = agreement.make_sample(dataset.raw[trained.rows["train"]], trained.settings["seed"])
    compared = np.concatenate([sample, golden_raw])
    probabilities, difference = agreement.verify_equal(folder, preprocessor.transform(compared))
    golden_probabilities = probabilities[-len(golden_raw) :]
    train = trained.parts["train"].raw
    network = (folder / ONNX_FILE).read_bytes()
    heard = find_features(network, preprocessor.sources)
    chosen = _choose_background(fitted, train, len(heard), trained.settings["seed"])
    np.save(folder / BACKGROUND_FILE, chosen, allow_pickle=False)
    members = tuple(convert(member, "float64") for member in fitted.result.members)
    kept = support.write_support(
        folder, dataset.schema, train, heard, members, preprocessor.transform, trained.settings["seed"]
    )
    entry = {} if kept is None else {"support": kept}
    files = [path.name for path in folder.iterdir()]
    draft = Draft(
        str(version),
        chosen,
        read_support(folder, entry, dataset.schema, files),
        network,
        preprocessor,
    )
    report = _report_data(version, trained, Explainer(draft))
    write_report(folder / REPORT_FILE, report)
    write_model_card(folder / MODEL_CARD_FILE, report)
    customers = as_customers(dataset.schema, golden_raw)
    content = _describe(report, trained) | {
        "engine_difference": difference,
        "preprocessing": preprocessor.to_dict(),
        "golden": [
            {"customer": customer, "probability": float(probability)}
            for customer, probability in zip(customers, golden_probabilities, strict=True)
        ],
        **entry,
    }
    write_manifest(folder, content)
    return difference


def _choose_background(fitted: FittedModel, train: NDArray[np.float64], heard: int, seed: int) -> NDArray[np.float64]:
    # As trained, in float32, which takes half the time; reasons are computed in it, too.
    engine = export.load_onnx(fitted.result.model)
    candidates = background.CANDIDATES if heard <= EXACT_FEATURES else background.FEW_CANDIDATES
    return background.choose_background(
        train,
        lambda raw: engine.predict(fitted.preprocessor.transform(raw)).astype(np.float64),
        seed,
        candidates=candidates,
    )


def _pack_transformer(trained: Trained) -> bytes:
    """Return the content of `preprocessor.joblib`, after comparing it with the numbers of the manifest.

    Both are read back from the bytes that are written. This is the only place where such bytes are unpickled: they were
    made here, and come from no file.
    """
    raw = trained.dataset.raw
    buffer = io.BytesIO()
    joblib.dump(trained.fitted.transformer, buffer)
    numbers = Preprocessor.from_dict(json.loads(json.dumps(trained.fitted.preprocessor.to_dict())))
    buffer.seek(0)
    export.verify_preprocessor(joblib.load(buffer), numbers, as_objects(trained.dataset.schema, raw), raw)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Draft:
    """A version whose files are being written, as it is explained in the report; see `churn.scorer.Scorer`."""

    version: str
    background: NDArray[np.float64]
    support: SupportData | None
    network: bytes
    preprocessor: Preprocessor

    @property
    def sources(self) -> NDArray[np.int64]:
        """Raw column of each input of the network, shape (width,)."""
        return self.preprocessor.sources

    def prepare_rows(self, rows: Sequence[Sequence[float]], raw: NDArray[np.float64]) -> NDArray[np.float32]:  # noqa: ARG002  alike
        """Return the input of the network, shape (n, width), for a raw matrix; `rows` are the same as lists."""
        return self.preprocessor.transform(raw)


def _report_data(version: int, trained: Trained, explainer: Explainer) -> ReportData:
    return ReportData(
        version=version,
        created=trained.created,
        network=trained.settings["network"],
        parameters=int(trained.fitted.result.model.count_params()),
        seed=trained.settings["seed"],
        threshold=trained.settings["threshold"],
        schema=trained.dataset.schema,
        source=trained.dataset.source,
        notes=(*trained.dataset.notes, *trained.fitted.result.notes),
        history=trained.fitted.result.history,
        parts=trained.parts,
        predict=trained.fitted.predict,
        settings=trained.settings,
        libraries=provenance.library_versions(),
        command=trained.command,
        costs=trained.costs,
        scores=None if trained.whole is None else trained.whole.scores,
        program=_name_program(),
        details=trained.fitted.result.details,
        warnings=trained.fitted.result.warnings,
        explainer=explainer,
    )


def _name_program() -> str:
    commit = provenance.git_commit()
    return f"{__version__}, commit {commit}" if commit else __version__


def _describe(report: ReportData, trained: Trained) -> dict[str, Any]:
    dataset = trained.dataset
    whole = trained.whole or FullStatistics(
        trained.scores,
        histograms.count_features(dataset.schema, dataset.raw[trained.rows["train"]]),
        histograms.count_scores(trained.parts["train"].probabilities),
    )
    return {
        "version": report.version,
        "created": report.created,
        "program": __version__,
        "git_commit": provenance.git_commit(),
        "command": report.command,
        "schema": dataset.schema.to_dict(),
        "threshold": report.threshold,
        "network": {
            "name": report.network,
            "parameters": report.parameters,
            "epochs": len(trained.fitted.result.history["loss"]),
            "warnings": list(trained.fitted.result.warnings),
            **trained.fitted.result.details,
        },
        "settings": dict(trained.settings),
        "seed": report.seed,
        "metrics": {name: asdict(scores) for name, scores in whole.scores.items()},
        "data": {**dataset.source, "notes": list(report.notes)},
        "libraries": dict(report.libraries),
        "histograms": whole.histograms,
        "score_histogram": whole.score_histogram,
        "evaluation": describe_evaluation(report),
    }
