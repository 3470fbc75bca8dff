"""Prometheus' rules: valid, tested by promtool, about metrics that exist, and each alert with a runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from bank import REPOSITORY

from churn.drift import SHARE_FLOOR

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
SIMULATIONS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOKS = REPOSITORY / "docs" / "runbooks"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus has it)"
)


def groups(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "rules" / name).read_text(encoding="utf-8"))["groups"]
    return found


ALERTS = [rule for group in groups("alerts.yml") for rule in group["rules"]]


def promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_configuration_and_its_rules_are_valid() -> None:
    assert RULES
    promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")


@needs_promtool
@pytest.mark.slow
@pytest.mark.parametrize("path", SIMULATIONS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_must_and_only_then(path: Any) -> None:
    promtool("test", "rules", path)


def test_every_alert_is_simulated_both_ways() -> None:
    fires: set[Any] = set()
    silent: set[str] = set()
    for path in SIMULATIONS:
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for check in case.get("alert_rule_test", []):
                (fires if check["exp_alerts"] else silent).add(check["alertname"])
                fires |= {(check["alertname"], one["exp_labels"]["severity"]) for one in check["exp_alerts"]}
    names = {alert["alert"] for alert in ALERTS}
    assert names | {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS} == fires
    # A healthy service and customers like training's are silent throughout.
    assert names == silent
    texts = [path.read_text(encoding="utf-8") for path in SIMULATIONS]
    assert any("count(ALERTS) or vector(0)" in text for text in texts)
    assert any("ChurnFeatureDrift|ChurnScoreShift" in text for text in texts)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    named = set()
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"critical", "warning"}
        runbook = REPOSITORY / alert["annotations"]["runbook_url"]
        assert alert["alert"] in runbook.read_text(encoding="utf-8").splitlines()[0]
        named.add(runbook)
    assert named == set(RUNBOOKS.glob("*.md"))


def test_every_alert_is_in_the_operators_table_and_links_lead_somewhere() -> None:
    document = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bChurn[A-Z]\w+", document)) == {alert["alert"] for alert in ALERTS}
    for target in re.findall(r"\]\(([^)#]+)\)", document):
        assert (REPOSITORY / "docs" / target).exists(), target


def test_rules_read_metrics_that_the_service_has_and_records_that_are_recorded() -> None:
    documented = set(re.findall(r"^\| `(churn_\w+)`", (REPOSITORY / "docs" / "metrics.md").read_text(), re.MULTILINE))
    rules = [rule for path in RULES for group in groups(path.name) for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        assert set(re.findall(r"churn:[\w:]+", rule["expr"])) <= recorded
        read = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bchurn_\w+", rule["expr"])}
        assert read <= documented


def test_the_rules_of_a_day_are_those_of_an_hour() -> None:
    _, hour, day = groups("drift.yml")
    for ours, theirs in zip(hour["rules"], day["rules"], strict=True):
        assert theirs == {key: re.sub(r"1h(?=\W|$)", "1d", text) for key, text in ours.items()}


def test_the_floor_of_shares_is_that_of_batch_jobs() -> None:
    text = (PROMETHEUS / "rules" / "drift.yml").read_text(encoding="utf-8")
    assert {float(floor) for floor in re.findall(r"clamp_min\([^,]+, ([^)]+)\)", text)} == {SHARE_FLOOR}
