"""What an image is made of, and what it must not hold."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from engine import find_health_check

from churn import __version__
from service.server import FAREWELL_SECONDS
from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from engine import Engine

pytestmark = [pytest.mark.containers, pytest.mark.slow]

CPU_BYTES = 480e6  # records need SQLAlchemy, Alembic and a client of PostgreSQL, 46 MB together
TITLE = "org.opencontainers.image."
# Run in the container, which has no other tool: every file's path and what of it matters, and what can be imported.
LIST = """
import importlib.util, json, os, shutil, sys
walks = [walk for top in sys.argv[1].split() for walk in os.walk(top)]
files = [os.path.join(folder, name) for folder, _, names in walks for name in names]
tools = "pip pip3 gcc cc g++ ld as make git curl wget pytest churn".split()
modules = "pip setuptools pytest hypothesis mypy tensorflow pandas sklearn pyarrow onnxruntime".split()
print(json.dumps({
    "files": files,
    "tools": [tool for tool in tools if shutil.which(tool)],
    "modules": [module for module in modules if importlib.util.find_spec(module)],
}))
"""
# What a target is meant to lack may be missed; a part that install-packages cut out of a package may not.
IMPORT_ALL = """
import importlib, pkgutil, sys
lacks = sys.argv[1].split()
for package in sys.argv[2:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in lacks:
                raise
"""
OPTIONAL = "pyspark optuna opentelemetry opentelemetry.sdk"
LACKS = {
    "cpu": f"{OPTIONAL} tqdm tensorflow keras",
    "batch": f"{OPTIONAL} tensorflow keras",
    "train": f"{OPTIONAL} sqlalchemy psycopg alembic",
}
PACKAGES = {
    "cpu": ["churn", "service"],
    "batch": ["churn", "service", "batch"],
    "train": ["churn", "service", "batch", "training"],
}


@pytest.fixture(scope="module")
def contents(engine: Engine, images: dict[str, str]) -> dict[str, Any]:
    found = {}
    for target, tag in images.items():
        done = engine.do(tag, "-c", LIST, "/app /opt /models /data /root /home /tmp", flags=("--entrypoint", "python"))
        assert done.returncode == 0, done.stderr
        found[target] = json.loads(done.stdout)
    return found


def test_the_service_is_below_its_limit(engine: Engine, images: dict[str, str]) -> None:
    assert engine.inspect(images["cpu"])["Size"] < CPU_BYTES


def test_no_pip_no_compiler_no_tool_to_download_with(contents: dict[str, Any]) -> None:
    for target, found in contents.items():
        assert found["tools"] == ["churn"], target
        # TensorFlow names setuptools as something it needs.
        allowed = {"setuptools", "tensorflow", "pandas", "sklearn", "pyarrow", "onnxruntime"}
        assert set(found["modules"]) <= (allowed if target == "train" else {"pyarrow", "onnxruntime"}), target


def test_no_secret_no_cache_no_test_no_data(contents: dict[str, Any]) -> None:
    for target, found in contents.items():
        files = found["files"]
        assert any(path.startswith("/app/churn/") for path in files)
        for decoy in (
            ".env",
            "secret.pem",
            ".token",
            ".secret",
            ".netrc",
            "old.pyc",
            "customers.csv",
            "Churn_Modelling.csv",
        ):
            assert not [path for path in files if path.endswith("/" + decoy)], target
        for part in ("/tests/", "/.cache/", "/.git/", "/.venv/", "/Dockerfile"):
            assert not [path for path in files if part in path], (target, part)
        # A shell's own two files are the base image's.
        at_home = {path for path in files if path.startswith(("/root/", "/home/", "/tmp/"))}  # noqa: S108
        assert at_home <= {"/root/.bashrc", "/root/.profile"}, target


def test_the_models_are_in_the_images_that_score(contents: dict[str, Any]) -> None:
    holding = {target for target, found in contents.items() if "/models/current" in found["files"]}
    assert holding == set(contents) - {"train"}


def test_every_module_of_ours_can_be_imported(engine: Engine, images: dict[str, str]) -> None:
    # What deploy/images/install-packages leaves out is not missed.
    for target, tag in images.items():
        done = engine.do(tag, "-c", IMPORT_ALL, LACKS[target], *PACKAGES[target], flags=("--entrypoint", "python"))
        assert done.returncode == 0, (target, done.stderr)


def test_batch_jobs_reach_the_file_systems_of_clouds(engine: Engine, images: dict[str, str]) -> None:
    if "batch" not in images:
        pytest.skip("CHURN_TEST_TARGETS leaves the target out")
    command = "from pyarrow.fs import GcsFileSystem, HadoopFileSystem, S3FileSystem"
    done = engine.do(images["batch"], "-c", command, flags=("--entrypoint", "python"))
    assert done.returncode == 0, done.stderr


def test_an_image_says_what_it_is_and_who_runs_it(engine: Engine, images: dict[str, str]) -> None:
    for target, tag in images.items():
        image = engine.inspect(tag)
        config = image["Config"]
        assert config["User"] == "10001:10001"
        assert config["Entrypoint"] == ["churn"]
        labels = {name.removeprefix(TITLE) for name in config["Labels"] if name.startswith(TITLE)}
        assert labels >= {"title", "description", "licenses", "version", "revision"}
        assert config["Labels"][f"{TITLE}version"] == __version__
        assert config["StopSignal"] == ("SIGTERM" if target == "cpu" else "SIGINT")
        check = ["CMD", "python", "-I", "-S", "/app/service/probe.py"]
        assert find_health_check(image) == (check if target == "cpu" else [])


def test_the_service_ends_before_docker_kills_it_and_holds_no_responses_in_tmp(
    engine: Engine, images: dict[str, str]
) -> None:
    environment = dict(one.split("=", 1) for one in engine.inspect(images["cpu"])["Config"]["Env"])
    shutdown = float(environment["CHURN_SHUTDOWN_SECONDS"])
    seconds = Settings().drain_seconds + shutdown + FAREWELL_SECONDS
    assert seconds <= 8, "two of the 10 seconds are for the processes to end"
    assert environment["CHURN_MAX_SPILLED_BYTES"] == "0"


def test_a_change_of_code_leaves_the_packages_as_they_are(
    engine: Engine, images: dict[str, str], context: Path, tmp_path: Path
) -> None:
    shutil.copytree(context, tmp_path / "churn")
    with (tmp_path / "churn" / "churn" / "errors.py").open("a", encoding="utf-8") as module:
        module.write("\nCHANGED = True\n")
    changed = engine.build(tmp_path / "churn", "cpu", "localhost/churn-test:changed")
    try:
        before, after = (engine.inspect(tag)["RootFS"]["Layers"] for tag in (images["cpu"], changed))
        assert len(before) == len(after)
        assert before[:-1] == after[:-1]
        done = engine.do(changed, "-c", "from churn.errors import CHANGED", flags=("--entrypoint", "python"))
        assert done.returncode == 0, done.stderr
    finally:
        engine("rmi", "--force", changed)
