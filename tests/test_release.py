"""What a release states: its version, and the platforms it runs on."""

from __future__ import annotations

import re
import tomllib

from bank import REPOSITORY

from churn import __version__

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_version_is_stated_once() -> None:
    assert "version" in PROJECT["dynamic"]
    assert __version__ not in (REPOSITORY / "Dockerfile").read_text()
    tags = re.findall(r"newTag: \w+-(\S+?)}", "".join(path.read_text() for path in REPOSITORY.glob("deploy/**/*.yaml")))
    assert set(tags) == {__version__}


def test_the_changelog_has_the_version_and_a_section_for_what_comes_next() -> None:
    headings = re.findall(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", headings[1])


def test_only_platforms_with_fcntl_are_promised() -> None:
    systems = [name for name in PROJECT["classifiers"] if name.startswith("Operating System")]
    assert systems == ["Operating System :: MacOS", "Operating System :: POSIX :: Linux"]
    needs = [need for extra in PROJECT["optional-dependencies"].values() for need in extra] + PROJECT["dependencies"]
    assert not [need for need in needs if "win32" in need]
