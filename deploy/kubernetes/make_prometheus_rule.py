"""Generate the rules for the Prometheus operator: ``python deploy/kubernetes/make_prometheus_rule.py``."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "rules"
OUTPUT = HERE / "components" / "monitoring" / "prometheus-rule.yaml"
HEAD = """\
# Generated from deploy/prometheus/rules by deploy/kubernetes/make_prometheus_rule.py; don't edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: churn
  labels: {app.kubernetes.io/name: churn}
spec:
  groups:
"""


def render() -> str:
    """Return the manifest with the groups of all rule files."""
    parts = [HEAD]
    for path in sorted(RULES.glob("*.yml")):
        _, _, groups = path.read_text(encoding="utf-8").partition("groups:\n")
        parts.append("".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True)))
    return "\n".join(parts)


if __name__ == "__main__":
    OUTPUT.write_text(render(), encoding="utf-8")
