"""What all commands share: help that works when pasted, exit codes, errors in one message."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd
import pytest
from bank import draw_customers, write_csv
from processes import start_python
from waiting import DEADLINE, wait_until

from churn import __version__
from churn.errors import ChurnError
from cli import main as command

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

COMMANDS: dict[tuple[str, ...], click.Command] = {
    (): command.churn,
    **{(name,): group for name, group in command.churn.commands.items()},
    **{("models", name): leaf for name, leaf in command.models.commands.items()},
}
LEAVES = {name: leaf for name, leaf in COMMANDS.items() if not isinstance(leaf, click.Group)}


def example(leaf: click.Command) -> list[str]:
    """Return the arguments of a command's example."""
    found = re.search(r"Example: churn (.*)", leaf.help or "")
    assert found, f"{leaf.name} has no example"
    return shlex.split(found[1])


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does(churn: Any, name: tuple[str, ...]) -> None:
    answer = churn(*name, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: {shlex.join(['churn', *name])} ")
    assert answer.err == ""
    assert churn(*name, "-h").out == answer.out


def test_every_option_says_what_it_is_for() -> None:
    for name, leaf in LEAVES.items():
        for option in leaf.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name}: {option.name}"


def test_there_are_the_commands_of_the_design() -> None:
    assert set(COMMANDS) >= {
        *((name,) for name in ("train", "serve", "score", "simulate", "models")),
        *(("models", name) for name in ("list", "show", "promote", "rollback", "verify", "keygen", "sign")),
    }


@pytest.fixture
def workplace(own_models: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> Path:  # noqa: ARG001
    """A folder as a user has it: models/, customers.csv and mybank.csv."""
    folder = own_models.parent
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CHURN_MODELS", raising=False)
    customers = draw_customers(300)
    write_csv(folder / "customers.csv", customers)
    draw = np.random.default_rng(0)
    write_csv(
        folder / "mybank.csv",
        pd.DataFrame(
            {
                "client_no": range(1000, 1300),
                "tariff": draw.choice(["basic", "plus", "pro", "max"], 300),
                "income": customers.EstimatedSalary.mask(draw.random(300) < 0.2),
                "left": customers.Exited.map({0: "no", 1: "yes"}),
            }
        ),
    )
    return folder


PASTED = [
    pytest.param(name, marks=pytest.mark.slow if name == ("train",) else ()) for name in LEAVES if name != ("serve",)
]


@pytest.mark.parametrize("name", PASTED, ids=" ".join)
def test_the_example_of_a_command_works_when_pasted(churn: Any, workplace: Path, name: tuple[str, ...]) -> None:
    if name == ("models", "rollback"):
        (workplace / "models" / "promotions.jsonl").write_text(
            "".join(f'{{"time": "", "action": "promote", "version": {version}}}\n' for version in (1, 2))
        )
    if name in {("models", "sign"), ("models", "verify")}:
        assert churn(*example(LEAVES["models", "keygen"])).code == 0
    if name == ("models", "verify"):
        assert churn(*example(LEAVES["models", "sign"])).code == 0
    answer = churn(*example(LEAVES[name]))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out


@pytest.mark.slow
def test_the_example_of_serve_works_when_pasted(workplace: Path) -> None:
    arguments = example(LEAVES["serve",])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments[arguments.index("8000")] = str(port)
    code = "from cli.main import main; main()"
    process = start_python("-c", code, *arguments, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def is_ready() -> bool:
        assert process.poll() is None, process.communicate()[0]
        with suppress(urllib.error.URLError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready") as answer:
            return bool(answer.status == 200)
        return False

    try:
        wait_until(is_ready)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_the_version_is_said(churn: Any) -> None:
    assert churn("--version").out == f"churn, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("trian",), ("score",), ("train", "a.csv", "--seed", "x"), ("score", "a.csv"), ("models", "promote")]
)
def test_wrong_usage_ends_with_two(churn: Any, arguments: tuple[str, ...]) -> None:
    answer = churn(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("Usage: churn")
    assert "Traceback" not in answer.err


def raising(error: BaseException) -> Any:
    def run(**arguments: object) -> None:  # noqa: ARG001  a command's form
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ChurnError("no such thing"), 1, "error: no such thing\n"),
        (PermissionError(13, "Permission denied", "models"), 1, "error: [Errno 13] Permission denied: 'models'\n"),
        (KeyboardInterrupt(), 130, "interrupted: nothing was published\n"),
        (click.Abort(), 130, "interrupted: nothing was published\n"),
    ],
)
def test_what_goes_wrong_is_one_message_and_an_exit_code(
    churn: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    monkeypatch.setattr(LEAVES["models", "list"], "callback", raising(error))
    answer = churn("models", "list")
    assert (answer.code, answer.out, answer.err.lstrip("\n")) == (code, "", says)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LEAVES["models", "list"], "callback", raising(ZeroDivisionError()))
    monkeypatch.setattr(sys, "argv", ["churn", "models", "list"])
    with pytest.raises(ZeroDivisionError):
        command.main()


def test_a_damaged_current_model_scores_nothing(churn: Any, workplace: Path) -> None:
    (workplace / "models" / "1" / "model.onnx").write_bytes(b"")
    answer = churn("score", "customers.csv", "--output", "scores.csv")
    assert answer.code == 1
    assert answer.err.startswith("error: models/1/model.onnx: SHA-256 differs")
    assert not (workplace / "scores.csv").exists()


def test_score_says_what_it_did_and_its_answer_is_the_scorers(
    churn: Any, workplace: Path, scorers: dict[str, Scorer]
) -> None:
    customers = draw_customers(300)
    answer = churn("score", "customers.csv", "--output", "scores.csv")
    assert answer.code == 0
    assert answer.out.startswith("300 customers: 300 scored with version 1 into scores.csv, ")
    assert answer.out.endswith("; 0 rejected into scores.csv.rejects\n")
    scorer = scorers["onnx"]
    expected = scorer.score({name: customers[name].tolist() for name in scorer.schema.names})
    found = pd.read_csv(workplace / "scores.csv")
    assert found.CustomerId.tolist() == customers.CustomerId.tolist()
    assert found.probability.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert found.churn.tolist() == (expected > 0.5).tolist()


def test_both_engines_write_the_same_scores(churn: Any, workplace: Path) -> None:
    for engine in ("onnx", "tensorflow"):
        assert churn("score", "customers.csv", "--output", f"{engine}.parquet", "--engine", engine).code == 0
    onnx, tensorflow = (pd.read_parquet(workplace / f"{engine}.parquet") for engine in ("onnx", "tensorflow"))
    assert onnx.CustomerId.equals(tensorflow.CustomerId)
    assert (onnx.probability - tensorflow.probability).abs().max() <= 2e-6


def test_simulate_refuses_what_it_can_not_write(churn: Any, workplace: Path) -> None:
    answer = churn("simulate", "customers.json")
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err
    assert not (workplace / "customers.json").exists()
