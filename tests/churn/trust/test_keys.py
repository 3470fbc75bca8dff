"""Files of keys: what is written, what is read, and what is said about files that are neither."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from churn.errors import KeyFileError
from churn.trust.keys import MAX_KEY_BYTES, TrustedKeys, read_signing_key, read_trusted_keys, write_key_pair

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    write_key_pair(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def public_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey, passphrase: bytes = b"") -> bytes:
    how = form.BestAvailableEncryption(passphrase) if passphrase else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, how)


def test_the_private_key_is_readable_by_its_owner_only(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"BEGIN PRIVATE KEY" in key.read_bytes()
    assert b"PRIVATE" not in key.with_name("key.pem.pub").read_bytes()


def test_a_key_is_named_by_the_hash_of_its_public_key(key: Path) -> None:
    loaded = form.load_pem_public_key(key.with_name("key.pem.pub").read_bytes())
    der = loaded.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    signing = read_signing_key(key)
    assert signing.identifier == hashlib.sha256(der).hexdigest()[:16]
    assert read_trusted_keys(key.with_name("key.pem.pub")).keys == {signing.identifier: signing.public}


@pytest.mark.parametrize("existing", ["key.pem", "key.pem.pub"])
def test_neither_file_is_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(KeyFileError, match=f"{existing}: exists already; a key is never overwritten"):
        write_key_pair(tmp_path / "key.pem")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(existing, "mine")]


def test_a_link_to_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="exists already"):
        write_key_pair(tmp_path / "key.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere/key.pem: can't be written: No such file"):
        write_key_pair(tmp_path / "nowhere" / "key.pem")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has no private key that can be read"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "has no private key that can be read"),
        (public_pem(Ed25519PrivateKey.generate()), "has no private key that can be read"),
        (private_pem(Ed25519PrivateKey.generate(), b"secret"), "needs a passphrase, which is not supported"),
        (private_pem(ec.generate_private_key(ec.SECP256R1())), "has a key of another kind"),
        (b"x" * (MAX_KEY_BYTES + 1), "has more than 65,536 bytes"),
    ],
)
def test_what_is_no_private_key_is_said(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(KeyFileError, match=f"/key: {says}"):
        read_signing_key(tmp_path / "key")


def test_a_file_and_a_folder_may_have_several_keys(tmp_path: Path) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(3)]
    (tmp_path / "a.pem").write_bytes(b"# the trainer's\n" + public_pem(keys[0]) + public_pem(keys[1]))
    assert len(read_trusted_keys(tmp_path / "a.pem").keys) == 2
    (tmp_path / "b.pem").write_bytes(public_pem(keys[2]))
    assert len(read_trusted_keys(tmp_path).keys) == 3


def test_the_links_of_a_mounted_secret_are_followed_and_hidden_entries_ignored(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "key").write_bytes(public_pem(Ed25519PrivateKey.generate()))
    (tmp_path / "key").symlink_to("..data/key")
    assert len(read_trusted_keys(tmp_path).keys) == 1


DAMAGED = public_pem(Ed25519PrivateKey.generate()).replace(b"MC", b"M*")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has no public key"),
        (b"ssh-ed25519 AAAA", "has no public key"),
        (DAMAGED, "public key 1 can't be read"),
        (public_pem(Ed25519PrivateKey.generate()) + DAMAGED, "public key 2 can't be read"),
        (public_pem(Ed25519PrivateKey.generate())[:-10], "has an incomplete or other entry, PUBLIC KEY"),
        (private_pem(Ed25519PrivateKey.generate()), "has an incomplete or other entry, PRIVATE KEY"),
        (public_pem(ec.generate_private_key(ec.SECP256R1())), "public key 1 is of another kind"),
        (b"x" * (MAX_KEY_BYTES + 1), "has more than 65,536 bytes"),
    ],
)
@pytest.mark.parametrize("in_folder", [False, True])
def test_a_file_without_keys_is_an_error_and_never_no_keys(
    tmp_path: Path, data: bytes, says: str, *, in_folder: bool
) -> None:
    (tmp_path / "a").write_bytes(public_pem(Ed25519PrivateKey.generate()))
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(KeyFileError, match=f"/b: {says}"):
        read_trusted_keys(tmp_path if in_folder else tmp_path / "b")


def test_a_folder_without_keys_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="has no files; put at least one public key there"):
        read_trusted_keys(tmp_path)
    (tmp_path / "inner").mkdir()
    with pytest.raises(KeyFileError, match=r"inner: is not a file"):
        read_trusted_keys(tmp_path)
    with pytest.raises(KeyFileError, match=r"nowhere: does not exist"):
        read_trusted_keys(tmp_path / "nowhere")


def test_no_keys_are_not_trusted_keys() -> None:
    with pytest.raises(KeyFileError, match="no key is trusted"):
        TrustedKeys({})
