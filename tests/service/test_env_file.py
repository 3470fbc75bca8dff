"""A file with environment variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from service.env_file import EnvFile
from service.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHURN_A", "CHURN_B", "CHURN_C"):  # restored afterwards
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_GIVEN", "environment")


def read() -> dict[str, str]:
    return {name: os.environ[name] for name in ("CHURN_A", "CHURN_B", "CHURN_C", "CHURN_GIVEN") if name in os.environ}


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("# comment\nCHURN_A=1\nexport CHURN_B='two words'\nCHURN_GIVEN=file\n\n")
    EnvFile(path).load()
    assert read() == {"CHURN_A": "1", "CHURN_B": "two words", "CHURN_GIVEN": "environment"}


def test_a_variable_that_is_gone_from_the_file_is_unset(tmp_path: Path) -> None:
    path = tmp_path / "env"
    file = EnvFile(path)
    path.write_text("CHURN_A=1\nCHURN_B=2\n")
    file.load()
    path.write_text("CHURN_B=3\nCHURN_C=4\n")
    file.load()
    assert read() == {"CHURN_B": "3", "CHURN_C": "4", "CHURN_GIVEN": "environment"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"CHURN_A=1\nnot a setting\n", "line 2: 'not a setting' can't be read; allowed: NAME=value"),
        (b"CHURN_A=1\nCHURN_B\n", "line 2: 'CHURN_B' can't be read; allowed: NAME=value"),
        (b"CHURN_A=\xff\n", "can't be read: 'utf-8' codec"),
        (None, "can't be read: [Errno 2] No such file"),
    ],
)
def test_a_file_that_can_not_be_read_changes_nothing(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "env"
    file = EnvFile(path)
    path.write_text("CHURN_C=1\n")
    file.load()
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        file.load()
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert read() == {"CHURN_C": "1", "CHURN_GIVEN": "environment"}
