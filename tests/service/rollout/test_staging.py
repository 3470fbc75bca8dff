"""Private copies of model versions."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest
from bundles import publish
from tampering import contents, flip_byte, sign

from churn.errors import BundleError, RegistryError
from churn.runtime.private_folder import private_folder
from service.rollout.staging import PREFIX, Staging, open_staging, remove_staging


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    publish(root)
    return root


def test_a_copy_has_the_files_of_the_version_and_is_private(models: Path) -> None:
    (models / "1" / "note.txt").write_text("not in the manifest")
    with open_staging(models) as staging:
        staged = staging.stage(1)
        copy = Path(staged.folder)
        assert contents(copy) == {name: data for name, data in contents(models / "1").items() if name != "note.txt"}
        assert stat.S_IMODE(staging.folder.stat().st_mode) == 0o700
        assert staging.stage(1) == staged
    assert not staging.folder.exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.keras", "report.html", "manifest.json"])
def test_a_damaged_version_is_refused_with_its_own_file_and_leaves_nothing(models: Path, name: str) -> None:
    flip_byte(models / "1" / name, 10)
    with open_staging(models) as staging:
        with pytest.raises(BundleError, match=rf"models/1/{name}: SHA-256 differs"):
            staging.stage(1)
        staging.keep_only([])
        assert not [path for path in staging.folder.iterdir() if path.is_dir()]


def test_a_missing_file_is_named(models: Path) -> None:
    (models / "1" / "model.onnx").unlink()
    with open_staging(models) as staging, pytest.raises(BundleError, match=r"models/1/model.onnx: is missing"):
        staging.stage(1)


def test_a_manifest_can_not_name_files_elsewhere(models: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x")
    content = json.loads((models / "1" / "manifest.json").read_text())
    content["files"]["../../elsewhere"] = content["files"]["report.html"]
    sign(models / "1", content)
    with (
        open_staging(models) as staging,
        pytest.raises(BundleError, match="elsewhere' is not the name of a file"),
    ):
        staging.stage(1)


def test_a_copy_under_another_number_is_refused(models: Path) -> None:
    shutil.copytree(models / "1", models / "2")
    with open_staging(models) as staging, pytest.raises(BundleError, match="the version is 1, but the folder is 2"):
        staging.stage(2)


def test_other_copies_are_removed(models: Path) -> None:
    publish(models)
    with open_staging(models) as staging:
        first, second = staging.stage(1), staging.stage(2)
        staging.keep_only([second])
        assert not Path(first.folder).exists()
        assert Path(second.folder).exists()
        assert staging.show(f"{second.folder}/model.onnx: x", second) == f"{models}/2/model.onnx: x"
        remove_staging(second)
        assert not staging.folder.exists()


def test_a_folder_that_can_not_be_made_or_written_is_named(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_staging(models) as staging:
        shutil.rmtree(staging.folder)
        with pytest.raises(RegistryError, match=r"models/1: can't be copied to .*No such file"):
            Staging(staging.registry, staging.folder).stage(1)
        staging.folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RegistryError, match="no folder for copies of the models can be created"), open_staging(models):
        pass


def test_what_killed_services_left_is_removed_and_what_runs_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    with private_folder(PREFIX) as first:
        assert not left.exists()
        with private_folder(PREFIX) as second:
            assert first.exists()
            assert first != second
    assert not list(tmp_path.iterdir())
