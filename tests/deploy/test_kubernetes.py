"""Kubernetes' manifests: what kustomize makes of them is valid, locked down, in step with the rest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bank import REPOSITORY
from make_prometheus_rule import OUTPUT, render

from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
VERSIONS = ("1.29", "1.33", "1.37")
"""Of Kubernetes: an old one that is still met, one between, the newest there is a schema for."""

Manifest = dict[str, Any]
USER = 10001


def build(folder: Path) -> list[Manifest]:
    """Return what kustomize makes of a folder."""
    commands = [["kustomize", "build"], ["kubectl", "kustomize"]]
    command = next((command for command in commands if shutil.which(command[0])), None)
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    command = [*command, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  a tool of the machine's
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> dict[tuple[str, str], Manifest]:
    """Everything an overlay makes, by kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in build(KUBERNETES / "overlays" / request.param)}


def pods(manifests: dict[tuple[str, str], Manifest]) -> list[Manifest]:
    """Return the templates of pods."""
    found = []
    for (kind, _), one in manifests.items():
        if kind == "Deployment":
            found.append(one["spec"]["template"])
        if kind == "CronJob":
            found.append(one["spec"]["jobTemplate"]["spec"]["template"])
    return found


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def test_the_operators_rules_are_those_of_prometheus() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == render(), "stale: run python deploy/kubernetes/make_prometheus_rule.py"
    made = yaml.safe_load(render())["spec"]["groups"]
    files = sorted((REPOSITORY / "deploy" / "prometheus" / "rules").glob("*.yml"))
    assert made == [group for path in files for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]


def test_every_dashboard_is_in_the_config_map() -> None:
    generator = yaml.safe_load((REPOSITORY / "deploy/grafana/kustomization.yaml").read_text())["configMapGenerator"][0]
    dashboards = {f"dashboards/{path.name}" for path in (REPOSITORY / "deploy/grafana/dashboards").iterdir()}
    assert set(generator["files"]) == dashboards


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_obey_the_schemas_of_kubernetes(manifests: dict[tuple[str, str], Manifest], version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate (PyPI) is not installed")
    checked = 0
    for (kind, _), manifest in manifests.items():
        if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
            continue  # the operator's kinds; their schemas are not Kubernetes' own
        validator.validate(manifest, version, strict=True)
        checked += 1
        assert kind
    assert checked >= 9


def test_every_pod_is_locked_down(manifests: dict[tuple[str, str], Manifest]) -> None:
    assert pods(manifests)
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False  # else CHURN_PORT and the like are taken for settings
        assert spec["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER}.items()
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
            assert re.fullmatch(r"registry\.example/churn:\w+-[\d.]+", container["image"]), "an image without a tag"
        models = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["mountPath"] == "/models"]
        assert [mount.get("readOnly") for mount in models] == [True]


def test_the_service_has_three_probes_and_time_to_drain(manifests: dict[tuple[str, str], Manifest]) -> None:
    spec = manifests["Deployment", "churn"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health/ready", "liveness": "/health/live", "readiness": "/health/ready"}
    settings = {one["name"]: one["value"] for one in container["env"]}
    assert {name.removeprefix("CHURN_").lower() for name in settings} <= set(Settings.model_fields)
    ending = float(settings["CHURN_DRAIN_SECONDS"]) + float(settings["CHURN_SHUTDOWN_SECONDS"])
    assert ending < spec["terminationGracePeriodSeconds"]
    # An endpoint is gone from every node before the drain ends: readiness is asked often enough to see it begin.
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < float(settings["CHURN_DRAIN_SECONDS"])


def test_the_keys_come_from_secrets(manifests: dict[tuple[str, str], Manifest]) -> None:
    spec = manifests["Deployment", "churn"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (path,) = [one["value"] for one in container["env"] if one["name"] == "CHURN_API_KEYS"]
    (volume,) = [one for one in spec["volumes"] if "secret" in one]
    assert volume["secret"] == {"secretName": "churn-keys", "defaultMode": 0o440}  # readable by the group, fsGroup
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
    assert (mount["mountPath"], mount["readOnly"], "subPath" in mount) == ("/run/churn", True, False)
    assert path == "/run/churn/keys.json"
    (endpoint,) = manifests["ServiceMonitor", "churn"]["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "churn-prometheus", "key": "key"}}


def test_what_selects_the_service_selects_its_pods(manifests: dict[tuple[str, str], Manifest]) -> None:
    deployment = manifests["Deployment", "churn"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    service = manifests["Service", "churn"]
    selectors = [
        deployment["selector"]["matchLabels"],
        service["spec"]["selector"],
        manifests["PodDisruptionBudget", "churn"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy", "churn"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
        # and not those of the nightly job
        assert all(not selector.items() <= pod["metadata"]["labels"].items() for pod in pods(manifests)[1:])
    monitor = manifests["ServiceMonitor", "churn"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    # The alerts know the service by the name of its scrape job.
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "churn"
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert manifests["HorizontalPodAutoscaler", "churn"]["spec"]["scaleTargetRef"]["name"] == "churn"
    assert "replicas" not in deployment  # the autoscaler's, and every apply would set it back


def test_the_autoscalers_metric_is_one_that_the_adapter_offers_and_the_service_has(
    manifests: dict[tuple[str, str], Manifest],
) -> None:
    metrics = manifests["HorizontalPodAutoscaler", "churn"]["spec"]["metrics"]
    asked = {metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"}
    adapter = yaml.safe_load((KUBERNETES / "components/monitoring/prometheus-adapter.yaml").read_text())
    offered = {rule["name"]["as"] for rule in adapter["rules"]["custom"]}
    documented = set(re.findall(r"^\| `(churn_\w+)`", (REPOSITORY / "docs/metrics.md").read_text(), re.MULTILINE))
    assert asked
    assert asked <= offered <= documented


def test_a_gpu_is_asked_for_and_required() -> None:
    found = {(one["kind"], one["metadata"]["name"]): one for one in build(KUBERNETES / "overlays" / "gpu")}
    spec = found["Deployment", "churn"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "CHURN_REQUIRE_GPU", "value": "true"} in container["env"]
    assert container["args"][-2:] == ["--workers", "1"]
    assert {volume["name"] for volume in spec["volumes"]} == {"models", "keys", "tmp"}


def test_records_are_kept_by_settings_of_the_service(tmp_path: Path) -> None:
    parts = {"resources": "base", "components": "components/records"}
    overlay = {kind: [os.path.relpath(KUBERNETES / path, tmp_path)] for kind, path in parts.items()}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    found = {(one["kind"], one["metadata"]["name"]): one for one in build(tmp_path)}
    deployment = found["Deployment", "churn"]["spec"]
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    assert {one["name"].removeprefix("CHURN_").lower() for one in container["env"]} <= set(Settings.model_fields)
    settings = {one["name"]: one.get("value") for one in container["env"]}
    assert settings["CHURN_RECORDS"] is None  # from a secret, since it may have a password
    assert settings["CHURN_API_KEYS"] == "/run/churn/keys.json"  # the base's are still there
    limit = int(settings["CHURN_RECORDS_SPILL_BYTES"])
    Settings(records="postgresql://u@db/r", records_mode=settings["CHURN_RECORDS_MODE"], records_spill_bytes=limit)
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == settings["CHURN_RECORDS_SPILL"]]
    (volume,) = [one for one in spec["volumes"] if one["name"] == mount["name"]]
    workers = int(container["resources"]["limits"]["cpu"])
    assert workers * limit < int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
    assert found["NetworkPolicy", "records"]["spec"]["podSelector"] == deployment["selector"]
