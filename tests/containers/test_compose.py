"""The compose files: valid as they are, and brought up, scraped, trained with, scored with and taken down."""

from __future__ import annotations

import csv
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bank import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.containers, pytest.mark.slow]

ROWS = 1500
CPU = ["--file", "docker-compose.yml"]
GPU = [*CPU, "--file", "docker-compose.gpu.yml"]
ALL = ["--profile", "train", "--profile", "score"]


def succeeds(*command: str) -> bool:
    """Return whether a command ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603


def find_compose() -> list[str]:
    """Return the command."""
    for command in (os.environ.get("COMPOSE", "docker compose").split(), ["docker-compose"]):
        if shutil.which(command[0]) and succeeds(*command, "version"):
            return command
    pytest.skip("Docker Compose is not installed (COMPOSE names it)")


class Project:
    """A project of compose in a copy of the checkout."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._command = find_compose()
        self._environment = {**os.environ, **environment}

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run one of compose's commands; return what it says."""
        command = [*self._command, "--project-name", "churn-test", *arguments]
        done = subprocess.run(  # noqa: S603
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize("files", [CPU, GPU], ids=["cpu", "gpu"])
def test_the_files_are_valid_and_keep_everything_at_home(files: list[str]) -> None:
    services = yaml.safe_load(Project(REPOSITORY, {})(*files, *ALL, "config"))["services"]
    assert set(services) == {"churn", "keys", "prometheus", "grafana", "train", "score"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["mem_limit"]) > 0
        assert service["pids_limit"] > 0
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
        if name in {"train", "score", "keys"}:
            assert service["network_mode"] == "none"
        else:
            assert service["restart"] == "unless-stopped"
    models = [one for one in services["churn"]["volumes"] if one["target"] == "/models"]
    assert [one.get("read_only") for one in models] == [True]
    assert services["churn"]["depends_on"]["keys"]["condition"] == "service_completed_successfully"
    keys = [one for one in services["churn"]["volumes"] if one["target"] == "/data"]
    assert [(one["type"], one.get("read_only")) for one in keys] == [("volume", True)]
    assert services["prometheus"]["depends_on"]["churn"]["condition"] == "service_healthy"
    assert services["grafana"]["depends_on"]["prometheus"]["condition"] == "service_healthy"
    if files == GPU:
        devices = services["churn"]["deploy"]["resources"]["reservations"]["devices"]
        assert devices == [{"capabilities": ["gpu"], "count": 1, "driver": "nvidia"}]
        assert services["churn"]["environment"]["CHURN_REQUIRE_GPU"] == "true"
        assert services["churn"]["build"]["target"] == "gpu"


@pytest.fixture(scope="module")
def project(images: dict[str, str], context: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The service and Prometheus, up and healthy. Grafana's image is 700 MB: its configuration is tested elsewhere."""
    if not succeeds(*find_compose(), "ls"):
        pytest.skip("compose reaches no engine (DOCKER_HOST)")
    if not {"cpu", "batch", "train"} <= set(images):
        pytest.skip("CHURN_TEST_TARGETS leaves a target out")
    data = tmp_path_factory.mktemp("data")
    folder = tmp_path_factory.mktemp("project") / "churn"  # training adds a model to it
    shutil.copytree(context, folder)
    ports = free_ports("PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
    project = Project(
        folder,
        {
            "CHURN_IMAGE": images["cpu"],
            "CHURN_TRAIN_IMAGE": images["train"],
            "CHURN_BATCH_IMAGE": images["batch"],
            "CHURN_USER": f"{os.getuid()}:{os.getgid()}",
            "DATA": str(data),
            **ports,
        },
    )
    try:
        project("up", "--detach", "--wait", "--wait-timeout", "180", "churn", "prometheus")
        yield project
    finally:
        project(*ALL, "down", "--volumes", "--timeout", "20", check=False)


def free_ports(*names: str) -> dict[str, str]:
    """Return a port that nobody listens on for each name."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    found = {name: str(one.getsockname()[1]) for name, one in zip(names, listeners, strict=True)}
    for listener in listeners:
        listener.close()
    return found


def get(project: Project, port: str, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", int(project._environment[port]), timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse().read()
    connection.close()
    return json.loads(answer)


def ask(project: Project, query: str) -> Any:
    """Return what Prometheus answers."""
    path = f"/api/v1/query?query={urllib.parse.quote(query)}"
    return get(project, "PROMETHEUS_PORT", path)["data"]["result"]


def test_prometheus_scrapes_the_service_and_knows_the_rules(project: Project) -> None:
    assert get(project, "PORT", "/health/ready") == {"status": "ready", "model_version": "1"}
    end = time.monotonic() + 60
    while not (found := ask(project, 'up{job="churn"} == 1')):
        assert time.monotonic() < end, "no good scrape"
        time.sleep(1)
    assert [one["metric"]["instance"] for one in found] == ["churn:8000"]
    assert ask(project, "churn_ready_workers > 0")
    groups = get(project, "PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {"ChurnDown", "ChurnFeatureDrift"} <= {rule["name"] for rule in rules if rule["type"] == "alerting"}
    assert not [rule["name"] for rule in rules if rule["health"] == "err"]


def test_a_key_is_made_used_and_revoked(project: Project) -> None:
    keys = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "churn", "keys", "keys"]
    key = project(*keys, "create", "--name", "crm", "--scope", "predict").strip()
    assert "prometheus" in project(*keys, "list")

    def wait_for(status: int) -> None:
        end = time.monotonic() + 30
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", int(project._environment["PORT"]), timeout=10)
            connection.request("GET", "/model", headers={"X-API-Key": key})
            found = connection.getresponse().status
            connection.close()
            if found == status:
                return
            assert time.monotonic() < end, found
            time.sleep(0.5)

    wait_for(200)
    project(*keys, "revoke", "crm")
    wait_for(401)


def test_the_jobs_train_into_the_folder_of_models_and_score_a_folder(project: Project) -> None:
    data = project._environment["DATA"]
    draw = ["run", "--rm", "--no-deps", "--entrypoint", "churn", "--volume", f"{data}:/drawn", "train"]
    project(*draw, "simulate", "--rows", str(ROWS), "/drawn/customers.csv")
    project("run", "--rm", "train", "customers.csv", "--network", "reference")
    assert (project.folder / "models" / "current").read_text().strip() == "2"
    project("run", "--rm", "score", "customers.csv", "--output", "scores.csv")
    with (Path(data) / "scores.csv").open(newline="", encoding="utf-8") as file:
        scores = list(csv.DictReader(file))
    assert len(scores) == ROWS
    assert {one["model_version"] for one in scores} == {"2"}
    # The service changes to the new model by itself, without a break.
    end = time.monotonic() + 60
    while (ready := get(project, "PORT", "/health/ready"))["model_version"] != "2":
        assert ready["status"] == "ready"
        assert time.monotonic() < end, "the new model is not served"
        time.sleep(0.2)
    project("restart", "churn")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if get(project, "PORT", "/health/ready").get("model_version") == "2":
                return
        except OSError:
            pass
        time.sleep(0.5)
    pytest.fail("the new model is not served after a restart")
