"""What the Dockerfile copies from the checkout is let through by .dockerignore, and is the whole installed code."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase

import pytest
from bank import REPOSITORY

STEPS = re.findall(r"^COPY (?!--from)(.+)$", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
COPIED = sorted({name for step in STEPS for name in step.split()[:-1] if not name.startswith("--")})
ALLOWED = {
    line[1:] for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
}


def is_allowed(name: str) -> bool:
    """Return whether a line of .dockerignore lets through the file or folder, or a folder that it is in."""
    parents = ["/".join(name.split("/")[: depth + 1]) for depth in range(name.count("/") + 1)]
    return any(fnmatchcase(parent, pattern) for parent in parents for pattern in ALLOWED)


@pytest.mark.parametrize("name", COPIED)
def test_the_context_has_what_is_copied(name: str) -> None:
    assert (REPOSITORY / name).exists()
    assert is_allowed(name)


def test_the_image_is_built_of_every_package() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.rstrip("*") for name in settings["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(COPIED)


def test_the_context_has_no_secret_and_no_history() -> None:
    assert not any(is_allowed(name) for name in (".env", ".git", "keys.json", "tests/bank.py", "docs/records.md"))
