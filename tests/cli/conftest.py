from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cli.main import main


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Churn = Callable[..., Answer]


@pytest.fixture
def churn(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Churn:
    """Run the command `churn` with some arguments, as the console script does."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["churn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Answer(ended.value.code or 0, out, err)

    return run
