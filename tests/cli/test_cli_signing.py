"""Keys, signatures, and what each command does with versions that are not signed by a trusted key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from every_command import COMMANDS
from tampering import contents

from churn.bundle import read_bundle, sign_bundle
from churn.registry import Registry
from churn.trust.keys import read_signing_key, write_key_pair
from churn.trust.signatures import SIGNATURE, TRUSTED_KEYS, Trust
from training import publication

if TYPE_CHECKING:
    from pathlib import Path

READ_NO_MODEL = {
    *("churn keys create", "churn keys list", "churn keys revoke"),
    *("churn models keygen", "churn models sign", "churn simulate", "churn tune"),
    *("churn outcomes load", "churn outcomes show"),
    *("churn records check-job", "churn records erase", "churn records export", "churn records jobs"),
    *(
        "churn records prune",
        "churn records replay",
        "churn records seals",
        "churn records show",
        "churn records verify",
    ),
}
"""Commands that read no model, not these at least (records name another one), and the one that makes one trusted."""

NAME_IT_ONLY = {"churn models list", "churn records judge", "churn records report"}
"""Commands that name a version that can't be read, and go on without it."""


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private key whose public key alone is trusted."""
    path = tmp_path / "trusted.pem"
    write_key_pair(path)
    monkeypatch.setenv(TRUSTED_KEYS, f"{path}.pub")
    return path


def test_a_version_is_signed_and_verified_with_new_keys(churn: Any, two_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    answer = churn("models", "keygen", path)
    identifier = read_signing_key(path).identifier
    assert answer.out == f"wrote the private key {path} and the public key {path}.pub; identifier: {identifier}\n"
    again = churn("models", "keygen", path)
    assert (again.code, again.err) == (1, f"error: {path}.pub: exists already; a key is never overwritten\n")
    answer = churn("models", "sign", "--models", two_models, "--key", path)
    assert answer.out.startswith(f"version 2 is signed by {identifier}: created 20")
    answer = churn("models", "verify", "--models", two_models, "--engine", "onnx", "--trusted-keys", f"{path}.pub")
    assert answer.code == 1
    assert answer.err.startswith(f"version 1: failed: {two_models}/1/{SIGNATURE}: is missing, but {TRUSTED_KEYS}")
    assert f"version 2: signed by {identifier}\n" in answer.out
    answer = churn("models", "verify", 2, "--models", two_models, "--engine", "onnx")
    assert "version 2: the signature was not checked: no keys are trusted (--trusted-keys)\n" in answer.out


def test_list_and_show_say_who_signed(churn: Any, two_models: Path, key: Path) -> None:
    signing_key = read_signing_key(key)
    sign_bundle(two_models / "2", signing_key)
    _, first, second = churn("models", "list", "--models", two_models).out.splitlines()
    assert f"1  unusable: {two_models}/1/{SIGNATURE}: is missing" in first
    assert signing_key.identifier in second
    shown = json.loads(churn("models", "show", "--models", two_models).out)
    assert shown["signature"] == {"required": True, "signed_by": [signing_key.identifier]}


def test_without_trusted_keys_no_signer_is_claimed(churn: Any, two_models: Path, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "key")
    sign_bundle(two_models / "2", read_signing_key(tmp_path / "key"))
    _, first, second = churn("models", "list", "--models", two_models).out.splitlines()
    assert first.split()[-2] == "-"
    assert second.split()[-3:-1] == ["not", "checked"]
    shown = json.loads(churn("models", "show", "--models", two_models).out)
    assert shown["signature"] == {"required": False, "signed_by": []}


@pytest.mark.parametrize("name", ["list", "show", "verify"])
def test_keys_that_can_not_be_read_are_an_error(
    churn: Any, two_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "keys").write_text("none")
    monkeypatch.setenv(TRUSTED_KEYS, str(tmp_path / "keys"))
    answer = churn("models", name, "--models", two_models)
    assert answer.code == 1
    assert f"{tmp_path}/keys: has no public key" in answer.err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "churn serve"])
@pytest.mark.usefixtures("quick")
def test_every_command_refuses_what_no_trusted_key_has_signed(
    churn: Any, command_lines: Any, two_models: Path, key: Path, tmp_path: Path, command: str
) -> None:
    write_key_pair(tmp_path / "key.pem")
    foreign = read_signing_key(tmp_path / "key.pem")
    sign_bundle(two_models / "1", foreign)
    sign_bundle(two_models / "2", foreign)
    before = contents(two_models)
    lines = command_lines(two_models)[command]
    if command == "churn train":
        lines = [line for line in lines if "--warm-start" in line]
    if command == "churn models keygen":
        (tmp_path / "key.pem").unlink()
        (tmp_path / "key.pem.pub").unlink()
    for arguments in lines:
        answer = churn(*arguments)
        if command in READ_NO_MODEL:
            assert answer.code == 0, answer.err
            continue
        assert f"{SIGNATURE}: is signed by {foreign.identifier}, which {TRUSTED_KEYS} does not have" in (
            answer.out + answer.err
        )
        assert answer.code == (0 if command in NAME_IT_ONLY else 1)
        assert not (tmp_path / "scores.csv").exists()
        assert contents(two_models) == before
    for version in ("1", "2"):
        sign_bundle(two_models / version, read_signing_key(key))
    for arguments in lines if command not in READ_NO_MODEL else []:
        assert churn(*arguments).code == 0


@pytest.mark.usefixtures("quick")
def test_training_signs_before_it_publishes(
    churn: Any, own_models: Path, key: Path, bank_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_bundle(own_models / "1", read_signing_key(key))
    publish, hashed = Registry.publish, []
    write_manifest = publication.write_manifest

    def hash_files(folder: Path, content: Any) -> None:
        hashed.append(folder)
        write_manifest(folder, content)

    def watch(registry: Registry, write: Any, **more: Any) -> int:
        def written(folder: Path, version: int) -> None:
            write(folder, version)
            assert not (own_models / "2").exists()
            assert (folder / SIGNATURE).is_file()

        return publish(registry, written, **more)

    monkeypatch.setattr(publication, "write_manifest", hash_files)
    monkeypatch.setattr(Registry, "publish", watch)
    monkeypatch.setenv("CHURN_SIGN_KEY", str(key))
    answer = churn("train", bank_csv, "--models", own_models)
    assert answer.code == 0, answer.err
    assert Registry(own_models).current() == 2
    (private,) = hashed
    assert own_models not in private.parents
    assert not private.exists()
    identifier = read_signing_key(key).identifier
    assert read_bundle(own_models / "2", Trust.from_environment()).signers.keys == (identifier,)


@pytest.mark.parametrize("signed", [False, True])
def test_training_does_not_begin_if_its_version_could_not_be_served(
    churn: Any, own_models: Path, key: Path, bank_csv: Path, tmp_path: Path, *, signed: bool
) -> None:
    write_key_pair(tmp_path / "other")
    other = read_signing_key(tmp_path / "other").identifier
    more = ("--sign-key", tmp_path / "other") if signed else ()
    answer = churn("train", bank_csv, "--models", own_models, *more)
    says = f"it would be signed by {other}" if signed else "it would be unsigned"
    assert answer.err == (
        f"error: the new version can't become current: {says}, but {TRUSTED_KEYS} trusts "
        f"{read_signing_key(key).identifier}; give one of these keys, or --no-promote and sign the version later\n"
    )
    assert (answer.code, Registry(own_models).versions()) == (1, [1])


def test_training_does_not_begin_with_a_key_that_can_not_be_used(
    churn: Any, own_models: Path, bank_csv: Path, tmp_path: Path
) -> None:
    write_key_pair(tmp_path / "key")
    answer = churn("train", bank_csv, "--models", own_models, "--sign-key", tmp_path / "key.pub")
    assert answer.code == 1
    assert answer.err.startswith(f"error: {tmp_path}/key.pub: has no private key that can be read; allowed: an Ed25519")


def test_verify_names_files_that_the_manifest_does_not(churn: Any, own_models: Path) -> None:
    (own_models / "1" / "notes\n.txt").write_text("mine")
    answer = churn("models", "verify", "--models", own_models, "--engine", "onnx")
    assert answer.out.splitlines()[1:] == [r"version 1: not in the manifest, and read by no command: 'notes\n.txt'"]
    assert answer.code == 0


def test_verify_compares_the_engines_beyond_the_golden_rows(
    churn: Any, own_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn.engines import TensorFlowEngine

    assert "(onnx, tensorflow)" in churn("models", "verify", "--models", own_models).out
    predict = TensorFlowEngine.predict
    monkeypatch.setattr(
        TensorFlowEngine, "predict", lambda engine, matrix: predict(engine, matrix) + (len(matrix) == 2_000) * 2e-5
    )
    answer = churn("models", "verify", "--models", own_models)
    assert f"version 1: failed: {own_models}/1: onnx and tensorflow differ by 2e-05 on made-up" in answer.err
