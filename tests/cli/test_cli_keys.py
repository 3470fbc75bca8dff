"""`churn keys`: a key is shown once and stored as a hash; what can't be done is one line."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from churn.errors import ChurnError
from cli.main import churn
from service.guard.key_ring import KeyRing
from service.guard.keys_file import SCOPES, read_keys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(churn, ["keys", *map(str, arguments)])
    if isinstance(result.exception, ChurnError):
        raise result.exception
    return result


def create(file: Path, name: str = "crm", *more: object) -> str:
    result = run("create", "--name", name, "--scope", "predict", "--file", file, *more)
    assert result.exit_code == 0, result.output
    key: str = result.stdout.strip()
    return key


def test_the_key_is_all_that_is_printed_and_is_not_in_the_file(file: Path) -> None:
    key = create(file)
    assert KeyRing(file).verify(key.encode()) == read_keys(file)[0]
    assert key.rpartition("_")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_asked_for_is_stored(file: Path) -> None:
    more = ["--scope", "metrics", "--scope", "predict", "--expires", "12h"]
    more += ["--requests-per-second", "10.5", "--customers-per-second", "1000"]
    create(file, "crm", *more)
    (key,) = read_keys(file)
    assert key.scopes == ("predict", "metrics")
    assert key.expires is not None
    assert (key.expires - key.created).total_seconds() == 12 * 3600
    assert (key.requests_per_second, key.customers_per_second) == (10.5, 1000)


@pytest.mark.parametrize(("sent", "days"), [("90d", 90), ("never", None)])
def test_a_lifetime_is_90_days_unless_another_is_given(sent: str, days: int | None, file: Path) -> None:
    create(file, "default")
    create(file, "given", "--expires", sent)
    default, given = read_keys(file)
    assert default.expires is not None
    assert (default.expires - default.created).days == 90
    assert (given.expires - given.created).days == days if given.expires else days is None


@pytest.mark.parametrize("sent", ["", "0d", "-1d", "90", "1y", "d", "1e3d", "soon"])
def test_another_lifetime_is_refused(sent: str, file: Path) -> None:
    result = run("create", "--name", "crm", "--scope", "predict", "--file", file, "--expires", sent)
    assert result.exit_code == 2
    assert "allowed: a number of days, hours or minutes" in result.stderr
    assert not file.exists()


@pytest.mark.parametrize("option", ["--requests-per-second", "--customers-per-second"])
@pytest.mark.parametrize("sent", ["0", "-1", "1e10", "inf", "nan", "many"])
def test_another_rate_is_refused(sent: str, option: str, file: Path) -> None:
    result = run("create", "--name", "crm", "--scope", "predict", "--file", file, option, sent)
    assert result.exit_code == 2
    assert option in result.stderr
    assert not file.exists()


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 65, "-crm", "é", "a\nb", 'a"'])
def test_a_name_that_needs_escaping_is_refused(name: str, file: Path) -> None:
    with pytest.raises(ChurnError, match="can't be used; allowed: up to 64 letters"):
        run("create", "--name", name, "--scope", "predict", "--file", file)
    assert not file.exists()


@pytest.mark.parametrize(
    "arguments", [["--name", "crm"], ["--scope", "predict"], ["--name", "crm", "--scope", "everything"],
                  ["--name", "crm", "--scope", "predict", "--requests-per-second", "0"]]
)  # fmt: skip
def test_wrong_usage_ends_with_2(arguments: list[str], file: Path) -> None:
    assert run("create", "--file", file, *arguments).exit_code == 2


def test_a_name_is_used_once(file: Path) -> None:
    create(file)
    before = file.read_bytes()
    with pytest.raises(ChurnError, match="a key named crm already exists"):
        create(file)
    assert create(file, "crm", "--if-absent") == ""
    assert file.read_bytes() == before
    assert create(file, "ops", "--if-absent") != ""


def test_the_list_has_no_hash_and_says_what_has_expired(file: Path) -> None:
    create(file, "crm", "--requests-per-second", "5")
    create(file, "old")
    content = json.loads(file.read_text())
    content["keys"][1]["expires"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(content))
    shown = run("list", "--file", file).stdout
    assert "scrypt" not in shown
    lines = shown.splitlines()
    assert lines[1].endswith("predict; 5 requests/s")
    assert " expired " in lines[2]
    create(file, "for-ever", "--expires", "never")
    assert " never " in run("list", "--file", file).stdout


def test_a_revoked_key_is_gone(file: Path) -> None:
    crm, ops = create(file), create(file, "ops")
    assert run("revoke", "crm", "--file", file).stdout == "crm is revoked\n"
    ring = KeyRing(file)
    assert ring.verify(crm.encode()) is None
    assert ring.verify(ops.encode()) is not None
    with pytest.raises(ChurnError, match="no key named 'crm'; there are: ops"):
        run("revoke", "crm", "--file", file)


def test_a_damaged_file_is_reported_and_left_as_it_is(file: Path) -> None:
    file.write_text("{")
    for arguments in (["list"], ["revoke", "crm"], ["create", "--name", "crm", "--scope", "predict"]):
        with pytest.raises(ChurnError, match="is not JSON"):
            run(*arguments, "--file", file)
    assert file.read_text() == "{"


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChurnError, match="can't be written to: No such file or directory"):
        create(tmp_path / "none" / "keys.json")
    with pytest.raises(ChurnError, match="`churn keys create` writes it"):
        run("list", "--file", tmp_path / "keys.json")


def test_the_file_may_hold_only_so_many(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.guard import keys_file

    monkeypatch.setattr(keys_file, "MAX_KEYS", 1)
    create(file)
    with pytest.raises(ChurnError, match="has 1 keys; allowed: 1"):
        create(file, "ops")


def test_the_variable_of_the_service_names_the_file(file: Path) -> None:
    result = CliRunner().invoke(churn, ["keys", "list"], env={"CHURN_API_KEYS": str(file)})
    assert isinstance(result.exception, ChurnError)
    assert str(file) in str(result.exception)


def test_the_scopes_are_those_of_the_service() -> None:
    from cli import keys

    assert keys.SCOPES == SCOPES
