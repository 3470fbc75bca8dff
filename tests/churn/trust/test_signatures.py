"""Signed versions: which are read, which are not, and what is read of those."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from bank import REPOSITORY
from tampering import flip_byte, forge_manifest, sign

import churn.bundle
from churn.bundle import MANIFEST, copy_bundle, open_bundle, read_bundle, sign_bundle
from churn.errors import BundleError, KeyFileError
from churn.scorer import load_scorer
from churn.trust.keys import SigningKey, read_signing_key, read_trusted_keys, write_key_pair
from churn.trust.regular import read_regular
from churn.trust.signatures import (
    DOMAIN,
    MAX_SIGNATURE_BYTES,
    MAX_SIGNATURES,
    SIGNATURE,
    TRUSTED_KEYS,
    Trust,
    parse_signatures,
    write_signature,
)

if TYPE_CHECKING:
    from pathlib import Path

MODEL = REPOSITORY / "models" / "1"

OPENED: list[str] = []
"""Paths that were opened, while it is not empty: an audit hook can't be removed."""


def record(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and OPENED:
        OPENED.append(str(arguments[0]))


sys.addaudithook(record)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(MODEL, tmp_path / "models" / "1")


def make_key(tmp_path: Path, name: str = "key") -> tuple[SigningKey, Trust]:
    write_key_pair(tmp_path / name)
    return read_signing_key(tmp_path / name), Trust(tmp_path / f"{name}.pub")


def test_a_signed_version_is_read_and_says_who_signed(folder: Path, tmp_path: Path) -> None:
    key, trust = make_key(tmp_path)
    sign_bundle(folder, key)
    bundle = read_bundle(folder, trust)
    assert (bundle.signers.required, bundle.signers.keys) == (True, (key.identifier,))
    assert load_scorer(folder, "onnx", trust=trust).signers == bundle.signers
    assert read_bundle(folder, Trust()).signers.required is False


def test_the_signature_is_not_one_of_the_listed_files(folder: Path, tmp_path: Path) -> None:
    sign_bundle(folder, make_key(tmp_path)[0])
    forge_manifest(folder, lambda _: None)
    assert SIGNATURE not in json.loads((folder / MANIFEST).read_text())["files"]
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][SIGNATURE] = content["files"]["model.onnx"]
    sign(folder, content)
    with pytest.raises(BundleError, match=rf"{MANIFEST}: files: {SIGNATURE} can't be listed"):
        read_bundle(folder)


def test_by_default_the_environment_says_who_is_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, trust = make_key(tmp_path)
    monkeypatch.setenv(TRUSTED_KEYS, str(trust.source))
    for read in (read_bundle, load_scorer, lambda source: copy_bundle(source, tmp_path / "copy")):
        with pytest.raises(BundleError, match=rf"1/{SIGNATURE}: is missing, but {TRUSTED_KEYS} allows signed"):
            read(folder)
    sign_bundle(folder, key)
    assert read_bundle(folder).signers.required
    monkeypatch.setenv(TRUSTED_KEYS, str(tmp_path / "nowhere"))
    with pytest.raises(KeyFileError, match="nowhere: does not exist"):
        read_bundle(folder)
    monkeypatch.setenv(TRUSTED_KEYS, "")
    assert not read_bundle(folder).signers.required


def test_nothing_but_manifest_and_signature_of_an_unsigned_version_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trust = make_key(tmp_path)
    other, _ = make_key(tmp_path, "other")
    monkeypatch.setattr(churn.bundle, "decode_manifest", lambda _: pytest.fail("parsed"))
    for signed in (False, True):
        if signed:
            write_signature(folder, (folder / MANIFEST).read_bytes(), other)
        OPENED.append("from here")
        try:
            for read in (read_bundle, lambda source, t: load_scorer(source, trust=t),
                         lambda source, t: copy_bundle(source, tmp_path / "copy", t)):  # fmt: skip
                with pytest.raises(BundleError, match=rf"1/{SIGNATURE}: is "):
                    read(folder, trust)
        finally:
            opened = {path.rpartition("/")[2] for path in OPENED if path.startswith(str(folder))}
            OPENED.clear()
        assert opened == ({MANIFEST, SIGNATURE} if signed else {MANIFEST})
        assert not (tmp_path / "copy").exists()


def test_a_manifest_with_a_new_digest_needs_a_new_signature(folder: Path, tmp_path: Path) -> None:
    key, trust = make_key(tmp_path)
    sign_bundle(folder, key)
    forge_manifest(folder, lambda content: content.update(threshold=0.9))
    assert read_bundle(folder, Trust()).manifest.threshold == 0.9
    with pytest.raises(BundleError, match=f"the signature by {key.identifier} does not match this manifest"):
        read_bundle(folder, trust)
    sign_bundle(folder, key)
    assert read_bundle(folder, trust).manifest.threshold == 0.9


def test_the_files_of_a_signed_version_are_compared_with_its_manifest(folder: Path, tmp_path: Path) -> None:
    key, trust = make_key(tmp_path)
    sign_bundle(folder, key)
    flip_byte(folder / "model.onnx", 100)
    for read in (read_bundle, lambda source, t: load_scorer(source, trust=t)):
        with pytest.raises(BundleError, match=r"models/1/model.onnx: SHA-256 differs"):
            read(folder, trust)


def test_a_signature_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    key, trust = make_key(tmp_path)
    data = (folder / MANIFEST).read_bytes()

    class Other:
        identifier = key.identifier

        def sign(self, message: bytes) -> bytes:
            return key.sign(message.removeprefix(DOMAIN))

    write_signature(folder, data, Other())  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="does not match this manifest"):
        read_bundle(folder, trust)


def test_each_signature_by_a_trusted_key_must_be_right(folder: Path, tmp_path: Path) -> None:
    (one, first), (two, second) = make_key(tmp_path, "one"), make_key(tmp_path, "two")
    (tmp_path / "both").write_bytes(first.source.read_bytes() + second.source.read_bytes())  # type: ignore[union-attr]
    both = Trust(tmp_path / "both")
    sign_bundle(folder, one)
    before = (folder / SIGNATURE).read_bytes()
    sign_bundle(folder, two)
    assert set(read_bundle(folder, both).signers.keys) == {one.identifier, two.identifier}
    assert read_bundle(folder, second).signers.keys == (two.identifier,)
    sign_bundle(folder, one)
    assert len((folder / SIGNATURE).read_bytes().splitlines()) == 2
    (folder / SIGNATURE).write_bytes(before + before.replace(one.identifier.encode(), two.identifier.encode()))
    assert read_bundle(folder, first).signers.keys == (one.identifier,)
    with pytest.raises(BundleError, match=f"the signature by {two.identifier} does not match"):
        read_bundle(folder, both)


def test_a_revoked_key_is_refused_at_the_next_load(folder: Path, tmp_path: Path) -> None:
    one, first = make_key(tmp_path, "one")
    _, second = make_key(tmp_path, "two")
    keys = tmp_path / "keys"
    keys.mkdir()
    for trust in (first, second):
        shutil.copy(trust.source, keys)  # type: ignore[arg-type]
    sign_bundle(folder, one)
    trust = Trust(keys)
    assert read_bundle(folder, trust).signers.keys == (one.identifier,)
    (keys / "one.pub").unlink()
    with pytest.raises(BundleError, match=f"is signed by {one.identifier}, which {TRUSTED_KEYS} does not have"):
        read_bundle(folder, trust)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda line: b"\n" + line,
        lambda line: line + b"\n",
        lambda line: line + line,
        lambda line: line.replace(b"ed25519", b"none"),
        lambda line: line.replace(b" ", b"  "),
        lambda line: line[:-4] + b"\n",
        lambda line: line.replace(b"==", b""),
        lambda line: line.replace(b"\n", b"\r\n"),
        lambda line: b"\xef\xbb\xbf" + line,
        lambda line: line.upper(),
        lambda _: b"".join(b"ed25519 %016x %s==\n" % (n, b"A" * 86) for n in range(MAX_SIGNATURES + 1)),
    ],
)
def test_another_format_is_refused_with_its_line(folder: Path, tmp_path: Path, change: Any) -> None:
    key, trust = make_key(tmp_path)
    sign_bundle(folder, key)
    path = folder / SIGNATURE
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BundleError, match=rf"1/{SIGNATURE}: (line \d+: |has 2,)"):
        read_bundle(folder, trust)
    with pytest.raises(BundleError, match="remove the file to sign again"):
        sign_bundle(folder, key)


def test_a_signature_that_is_no_regular_file_or_too_large_is_refused(folder: Path, tmp_path: Path) -> None:
    key, trust = make_key(tmp_path)
    sign_bundle(folder, key)
    path = folder / SIGNATURE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=f"{SIGNATURE}: is not a regular file"):
        read_bundle(folder, trust)
    path.unlink()
    path.write_bytes(b"x" * (MAX_SIGNATURE_BYTES + 1))
    with pytest.raises(BundleError, match=f"{SIGNATURE}: has 2,049 bytes; allowed: at most 2,048"):
        read_bundle(folder, trust)


def test_a_full_signature_file_takes_no_further_one(folder: Path, tmp_path: Path) -> None:
    lines = b"".join(b"ed25519 %016x %s==\n" % (number, b"A" * 86) for number in range(MAX_SIGNATURES))
    assert len(lines) <= MAX_SIGNATURE_BYTES
    assert len(parse_signatures(lines)) == MAX_SIGNATURES
    (folder / SIGNATURE).write_bytes(lines)
    with pytest.raises(BundleError, match="has 16 signatures already"):
        sign_bundle(folder, make_key(tmp_path)[0])


def test_a_damaged_version_is_not_signed(folder: Path, tmp_path: Path) -> None:
    flip_byte(folder / "report.html", 5)
    with pytest.raises(BundleError, match=r"report.html: SHA-256 differs"):
        sign_bundle(folder, make_key(tmp_path)[0])
    assert not (folder / SIGNATURE).exists()


def test_what_is_opened_is_a_copy_that_the_owner_of_the_folder_can_not_replace(folder: Path, tmp_path: Path) -> None:
    key, trust = make_key(tmp_path)
    sign_bundle(folder, key)
    with open_bundle(folder, trust) as bundle:
        (folder / "model.onnx").write_bytes(b"replaced")
        assert bundle.folder != folder
        assert (bundle.folder / "model.onnx").read_bytes() == (MODEL / "model.onnx").read_bytes()
        copy = bundle.folder
    assert not copy.exists()
    shutil.copy(MODEL / "model.onnx", folder)
    with pytest.raises(BundleError, match=rf"^{folder}/x: wrong$"), open_bundle(folder, trust) as bundle:
        raise BundleError(f"{bundle.folder}/x: wrong")
    with open_bundle(folder, Trust()) as bundle:
        assert bundle.folder == folder


def test_keys_travel_to_other_processes(tmp_path: Path) -> None:
    _, trust = make_key(tmp_path)
    keys = trust.load()
    assert pickle.loads(pickle.dumps(keys)) == keys == read_trusted_keys(trust.source)  # type: ignore[arg-type]  # noqa: S301
    assert Trust(keys).load() is keys


def test_a_file_that_grows_while_it_is_read_is_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_regular(tmp_path / "file", 100) == b"x" * 100
    monkeypatch.setattr("churn.trust.regular.measure", lambda _: 5)
    with pytest.raises(BundleError, match="file: has 11 bytes; allowed: at most 10"):
        read_regular(tmp_path / "file", 10)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(BundleError, match="link: can't be read"):
        read_regular(tmp_path / "link", 100)
