"""The audit of locked packages fails where it can't know, and base images are pinned as the registry says."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import audit
import pin_images
import pytest
from bank import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

NONE: dict[str, list[str]] = {}
OLD = {audit.CANARY: ["CVE-1"]}
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "a.txt").write_text(
        "# comment==1\none==1.0 \\\n    --hash=sha256:00\ntwo==2.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    (folder / "b.txt").write_text("one==1.1\ntwo==2.0\n")
    return folder


def make_tool(tmp_path: Path, known: dict[str, list[str]], skipped: tuple[str, ...] = (), *, failing: str = "") -> Any:
    """Return a command that answers as pip-audit does, from a database of ours."""
    tool = tmp_path / "pip_audit.py"
    tool.write_text(f"""
import json, pathlib, sys
assert {{"--strict", "--disable-pip", "--no-deps"}} <= set(sys.argv)
pins = pathlib.Path(sys.argv[sys.argv.index("-r") + 1]).read_text().split()
with open({str(tmp_path / "asked")!r}, "a") as file:
    print(*pins, file=file)
if {failing!r} in ("all", *pins):
    sys.exit("first line\\nERROR: no connection")
print(json.dumps({{"dependencies": [
    {{"name": name, "version": version,
      "vulns": [{{"id": each, "fix_versions": ["9"]}} for each in {known!r}.get(f"{{name}}=={{version}}", [])]}}
    for name, _, version in (pin.partition("==") for pin in pins) if f"{{name}}=={{version}}" not in {skipped!r}
]}}))
""")
    return [sys.executable, str(tool)]


def test_every_locked_version_is_looked_up_also_of_other_platforms(
    requirements: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit.main(make_tool(tmp_path, OLD), requirements)
    assert (tmp_path / "asked").read_text().splitlines() == [audit.CANARY, "one==1.0 two==2.0", "one==1.1"]
    assert capsys.readouterr().out == "3 locked packages: no known vulnerability\n"


@pytest.mark.parametrize(
    ("known", "skipped", "failing", "says"),
    [
        (OLD | {"one==1.1": ["CVE-2"]}, (), "", "one 1.1: CVE-2 (fixed in: 9)\naudit failed: 1 known vulnerabilities"),
        (NONE, (), "", "audit failed: the database knows no vulnerability of jinja2==2.4.1, so it can't know others"),
        (OLD, ("two==2.0",), "", "audit failed: not looked up: two==2.0"),
        (OLD, (), "all", "audit failed: packages could not be looked up: ERROR: no connection"),
        (OLD, (), "one==1.1", "audit failed: packages could not be looked up: ERROR: no connection"),
    ],
)
def test_the_audit_fails_where_it_finds_something_or_can_not_know(
    requirements: Path, tmp_path: Path, known: dict[str, list[str]], skipped: tuple[str, ...], failing: str, says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        audit.main(make_tool(tmp_path, known, skipped, failing=failing), requirements)
    assert ended.value.code == says


def test_a_tool_that_says_nothing_fails(requirements: Path) -> None:
    with pytest.raises(SystemExit, match="could not be looked up: status 0"):
        audit.main([sys.executable, "-c", ""], requirements)


def test_our_own_locked_files_are_found() -> None:
    pins = [pin for group in audit.list_pins(audit.REQUIREMENTS) for pin in group]
    assert len(pins) > 150
    assert any(pin.startswith("onnxruntime==") for pin in pins)
    assert any(pin.startswith("pip-audit==") for pin in pins)


def make_docker(tmp_path: Path, answers: dict[str, str]) -> str:
    tool = tmp_path / "docker"
    tool.write_text(f"""#!{sys.executable}
import json, sys
answers = json.loads({json.dumps(answers)!r})
assert sys.argv[1:4] == ["buildx", "imagetools", "inspect"]
if sys.argv[-1] not in answers:
    sys.exit("not found")
print(answers[sys.argv[-1]])
""")
    tool.chmod(0o755)
    return str(tool)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in pin_images.REFERENCES:
        shutil.copy(REPOSITORY / name, folder)
    return folder


def list_references(root: Path) -> list[str]:
    return [
        f"{match.groupdict().get('name') or 'python'}:{match['tag']}"
        for name, pattern in pin_images.REFERENCES.items()
        for match in pattern.finditer((root / name).read_text())
    ]


def test_base_images_are_pinned_and_pinned_anew(root: Path, tmp_path: Path) -> None:
    references = list_references(root)
    assert [reference.partition(":")[0] for reference in references] == ["python", "prom/prometheus", "grafana/grafana"]
    for wanted in (DIGEST, "sha256:" + "1" * 64):
        pin_images.main(make_docker(tmp_path, dict.fromkeys(references, wanted)), root)
        assert list_references(root) == references
        text = (root / "Dockerfile").read_text() + (root / "docker-compose.yml").read_text()
        assert text.count("@sha256:") == text.count(f"@{wanted}") == 3
    assert f"ARG PYTHON={references[0].partition(':')[2]}@{wanted}\n" in text


def test_nothing_is_written_unless_every_image_is_found(root: Path, tmp_path: Path) -> None:
    before = [(root / name).read_text() for name in pin_images.REFERENCES]
    known = dict.fromkeys(list_references(root)[:-1], DIGEST)
    wrong = dict.fromkeys(list_references(root), "nonsense")
    for answers, says in ((known, "grafana/grafana:.* can't be looked up"), (wrong, "python:.* can't be looked up")):
        with pytest.raises(SystemExit, match=says):
            pin_images.main(make_docker(tmp_path, answers), root)
    with pytest.raises(SystemExit, match="nowhere: No such file or directory; nothing was changed"):
        pin_images.main(str(tmp_path / "nowhere"), root)
    assert [(root / name).read_text() for name in pin_images.REFERENCES] == before
