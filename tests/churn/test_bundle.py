from __future__ import annotations

import json
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from tampering import flip_byte, forge_manifest, sign

from churn.bundle import MANIFEST, REQUIRED_FILES, Bundle, read_bundle, write_manifest
from churn.errors import BundleError, EngineError
from churn.libraries import check_library
from churn.scorer import load_scorer

if TYPE_CHECKING:
    from pathlib import Path

FILES = (*REQUIRED_FILES, "background.npy", "members.onnx", "model_card.md", "neighbours.npy")


@pytest.fixture
def folder(own_models: Path) -> Path:
    return own_models / "1"


def test_a_bundle_is_read_with_its_schema_threshold_and_golden_rows(models: Path, dataset: Any) -> None:
    bundle = read_bundle(models / "1")
    assert bundle.folder == models / "1"
    assert bundle.manifest.version == 1
    assert bundle.manifest.schema == dataset.schema
    assert bundle.manifest.threshold == 0.5
    assert len(bundle.manifest.golden) == 32


def test_the_manifest_lists_every_file_with_its_size(models: Path) -> None:
    folder = models / "1"
    listed = json.loads((folder / MANIFEST).read_text())["files"]
    assert sorted(listed) == sorted(path.name for path in folder.iterdir() if path.name != MANIFEST) == sorted(FILES)
    assert {name: entry["bytes"] for name, entry in listed.items()} == {
        name: (folder / name).stat().st_size for name in FILES
    }


@pytest.mark.parametrize("share", [0.0, 0.37, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_byte_in_a_file_is_refused_by_name(folder: Path, name: str, share: float) -> None:
    flip_byte(folder / name, int(share * (folder / name).stat().st_size))
    with pytest.raises(BundleError, match=rf"/1/{name}: SHA-256 differs from the manifest's"):
        load_scorer(folder)


def test_one_flipped_byte_anywhere_in_the_manifest_is_refused_by_name(folder: Path) -> None:
    path = folder / MANIFEST
    whole = path.read_bytes()
    digest = whole.index(b'"manifest_sha256": "')
    whitespace = whole.index(b"\n ")
    places = [0, whitespace, whitespace + 1, digest + 3, digest + 19, digest + 20, digest + 83, digest + 84]
    places += [len(whole) - 1, *range(5, len(whole), len(whole) // 40)]
    for place in places:
        flip_byte(path, place)
        with pytest.raises(BundleError, match=r"/1/manifest.json: SHA-256 differs"):
            read_bundle(folder)
        path.write_bytes(whole)
    read_bundle(folder)


@pytest.mark.parametrize("more", [b" ", b"\n", b'{"manifest_sha256": "' + b"0" * 64 + b'"}'])
def test_a_manifest_with_something_added_is_refused(folder: Path, more: bytes) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.write(more)
    with pytest.raises(BundleError, match=r"manifest.json: SHA-256 differs"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}'])
def test_a_manifest_without_its_digest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"manifest.json: SHA-256 differs"):
        read_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"/1/{name}: is missing"):
        read_bundle(folder)


def test_a_file_that_can_not_be_read_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("churn.bundle.sha256", refuse)
    with pytest.raises(BundleError, match=r"/1/background.npy: can't be read: Permission denied"):
        read_bundle(folder)


def test_a_missing_manifest_is_refused_by_name(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"/1/manifest.json: is missing"):
        read_bundle(folder)


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_file_the_manifest_does_not_list_is_refused_by_name(folder: Path, name: str) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    del content["files"][name]
    sign(folder, content)
    with pytest.raises(BundleError, match=rf"/1/manifest.json: does not list {name}"):
        read_bundle(folder)


@pytest.mark.parametrize("form", [0, 2, "1", None])
def test_another_form_of_manifest_is_refused(folder: Path, form: object) -> None:
    sign(folder, json.loads((folder / MANIFEST).read_text()) | {"format": form})
    with pytest.raises(BundleError, match=rf"manifest.json: unknown format {form!r}; allowed: 1"):
        read_bundle(folder)


def test_a_folder_under_another_versions_name_is_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"/2/manifest.json: the version is 1, but the folder is 2"):
        read_bundle(folder.rename(folder.parent / "2"))


def test_a_folder_whose_name_is_no_version_is_read(folder: Path) -> None:
    assert read_bundle(folder.rename(folder.parent / "downloaded")).manifest.version == 1


@pytest.mark.parametrize("part", ["version", "schema", "threshold", "preprocessing", "golden"])
def test_a_manifest_without_a_part_is_refused_by_name(folder: Path, part: str) -> None:
    forge_manifest(folder, lambda content: content.pop(part))
    with pytest.raises(BundleError, match=rf"manifest.json: missing required field {part}$"):
        read_bundle(folder)


def test_a_manifest_whose_schema_is_none_is_refused(folder: Path) -> None:
    forge_manifest(folder, lambda content: content["schema"].update(features={}))
    with pytest.raises(BundleError, match="a schema needs at least one feature"):
        read_bundle(folder)


def test_a_manifest_is_not_written_over_missing_files(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    with pytest.raises(BundleError, match=r"the bundle lacks model.onnx, preprocessor.joblib, report.html"):
        write_manifest(tmp_path, {})
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("engine", ["onnx", "tensorflow"])
def test_a_golden_row_that_says_something_else_is_refused_by_row(folder: Path, engine: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        content["golden"][7]["probability"] += 2e-5

    forge_manifest(folder, change)
    with pytest.raises(BundleError, match=rf"/1.*: golden row 7 scores 0\.\d+ with the {engine} engine, but the "):
        load_scorer(folder, engine)


def test_a_golden_row_off_by_less_than_the_tolerance_is_right(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for row in content["golden"]:
            row["probability"] += 8e-6

    forge_manifest(folder, change)
    load_scorer(folder, "onnx")


def test_another_network_under_a_right_signature_is_refused_by_its_golden_rows(folder: Path, outcome: Any) -> None:
    other = shutil.copytree(folder, folder.parent / "other")
    model = outcome.trained.fitted.result.model
    kept = model.get_weights()
    try:
        model.set_weights([*kept[:-1], kept[-1] + 0.01])
        model.save(other / "model.keras")
    finally:
        model.set_weights(kept)
    forge_manifest(other, lambda _: None)
    with pytest.raises(BundleError, match=r"other/model.keras: golden row 0 .* 32 of 32 rows differ"):
        load_scorer(other, "tensorflow")


def test_a_bundle_without_golden_rows_is_refused(folder: Path) -> None:
    forge_manifest(folder, lambda content: content.update(golden=[]))
    with pytest.raises(BundleError, match=r"manifest.json: golden: expected array of length >= 20"):
        load_scorer(folder)


def written_with(bundle: Bundle, version: str | None) -> Any:
    libraries = {} if version is None else {"keras": version}
    return type("Manifest", (), {"content": {**bundle.manifest.content, "libraries": libraries}})


@pytest.mark.parametrize(
    ("written", "installed", "fine"),
    [
        ("3.15.0", "3.15.0", True),
        ("3.15.2", "3.15.0", True),
        ("3.14.0", "3.15.1", True),
        ("3.9.0", "3.15.0", True),
        ("3.16.0", "3.15.9", False),
        ("2.15.0", "3.15.0", False),
        ("4.0.0", "3.15.0", False),
    ],
)
def test_a_library_may_be_newer_than_the_bundle_but_not_older_nor_of_another_major(
    models: Path, monkeypatch: pytest.MonkeyPatch, written: str, installed: str, *, fine: bool
) -> None:
    monkeypatch.setattr(metadata, "version", {"keras": installed}.__getitem__)
    manifest = written_with(read_bundle(models / "1"), written)
    if fine:
        check_library(manifest, "keras")
    else:
        with pytest.raises(BundleError, match=f"written with keras {written}, but {installed} is installed; allowed"):
            check_library(manifest, "keras")


def test_a_bundle_that_does_not_say_what_wrote_it_is_refused(models: Path) -> None:
    with pytest.raises(BundleError, match="lacks the version of keras"):
        check_library(written_with(read_bundle(models / "1"), None), "keras")


@pytest.mark.parametrize("version", ["", "3", "x.y", "3.", "-3.1", "3.15 or so"])
def test_a_version_of_a_library_that_is_none_is_refused(models: Path, version: str) -> None:
    with pytest.raises(BundleError, match=f"libraries.keras: {version!r} is not a valid version, such as"):
        check_library(written_with(read_bundle(models / "1"), version), "keras")


def test_the_library_is_checked_before_the_network_is_opened(folder: Path) -> None:
    forge_manifest(folder, lambda content: content["libraries"].update(keras="99.0"))
    with pytest.raises(BundleError, match=r"the bundle was written with keras 99.0"):
        load_scorer(folder, "tensorflow")
    load_scorer(folder, "onnx")


def test_a_library_that_is_not_installed_is_said_to_be_missing(models: Path) -> None:
    bundle = read_bundle(models / "1")
    manifest = type("Manifest", (), {"content": {"libraries": {"no-such-library": "1.0"}}})
    with pytest.raises(EngineError, match="no-such-library is not installed: pip install"):
        check_library(manifest, "no-such-library")  # type: ignore[arg-type]
    assert bundle.manifest.version == 1
