"""The file of API keys: strict when it is read, whole when it is written, and without a secret."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from keyed import add_key, remove_key

from service.guard import key_hash, keys_file
from service.guard.key_hash import hash_secret, make_key, matches, split_key
from service.guard.key_ring import KeyRing
from service.guard.keys_file import MAX_FILE_BYTES, KeysFileError, change_keys, now, read_keys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def write(path: Path, *entries: dict[str, Any], **top: Any) -> None:
    path.write_text(json.dumps({"format": 1, "keys": entries} | top))


ENTRY = {
    "name": "crm", "id": "abcdefgh", "hash": f"scrypt:{'0' * 32}:{'1' * 64}", "scopes": ["predict"],
    "created": "2026-11-30T12:00:00Z",
}  # fmt: skip


def test_a_key_has_256_bits_and_is_not_in_the_file(path: Path) -> None:
    whole = add_key(path, "crm")
    parts = split_key(whole.encode())
    assert re.fullmatch(r"churn_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}", whole)
    assert 62**43 > 2**256
    assert parts is not None
    assert parts.secret.decode() not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing(path).verify(whole.encode()) == read_keys(path)[0]


def test_two_keys_have_nothing_in_common() -> None:
    first, second = (make_key()[0] for _ in range(2))
    assert first.id != second.id
    assert first.secret != second.secret
    assert hash_secret(first.secret) != hash_secret(first.secret)  # salted
    assert matches(first.secret, hash_secret(first.secret))
    assert not matches(second.secret, hash_secret(first.secret))


@pytest.mark.parametrize(
    "sent",
    [b"", b"churn_", b"churn_abcdefgh_x", b"churn_abcdefgh_" + b"x" * 44, b"CHURN_abcdefgh_" + b"x" * 43, b"\xff" * 58],
)
def test_an_unknown_key_costs_as_much_as_a_known_one(sent: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = add_key(path, "crm")
    ring = KeyRing(path)
    hashed: list[tuple[int, int]] = []
    derive = key_hash._derive
    monkeypatch.setattr(
        key_hash, "_derive", lambda secret, salt: (hashed.append((len(secret), len(salt))), derive(secret, salt))[1]
    )
    wrong = known[:-1] + ("a" if known[-1] != "a" else "b")
    unknown = known.replace(known[6:14], "zzzzzzzz", 1)
    assert ring.verify(wrong.encode()) is None
    assert ring.verify(unknown.encode()) is None
    assert hashed == [(43, 16)] * 2
    assert ring.verify(sent) is None
    assert len(hashed) == 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "a b"}, r"key 1: Expected `str` matching regex .* at `\$\.name`"),
        ({"name": "x" * 65}, r"at `\$\.name`"),
        ({"name": 'x"\n'}, r"at `\$\.name`"),
        ({"name": "x\n"}, r"at `\$\.name`"),
        ({"id": "ijklmnop\n"}, r"at `\$\.id`"),
        ({"id": "short"}, r"at `\$\.id`"),
        ({"hash": "plain"}, r"at `\$\.hash`"),
        ({"scopes": []}, r"at `\$\.scopes`"),
        ({"scopes": ["everything"]}, r"Invalid enum value 'everything' - at `\$\.scopes\[0\]`"),
        ({"scopes": ["predict", "predict"]}, "a scope is repeated"),
        ({"scopes": "predict"}, r"at `\$\.scopes`"),
        ({"created": "2026-11-30T12:00:00"}, r"at `\$\.created`"),
        ({"expires": "soon"}, r"at `\$\.expires`"),
        ({"requests_per_second": 0}, r"at `\$\.requests_per_second`"),
        ({"customers_per_second": "many"}, r"at `\$\.customers_per_second`"),
        ({"admin": True}, "unknown field `admin`"),
        ({"name": "crm"}, "the name 'crm' is that of another key"),
        ({"id": "abcdefgh"}, "the id 'abcdefgh' is that of another key"),
    ],
)
def test_a_fault_is_one_line(changes: dict[str, Any], fault: str, path: Path) -> None:
    write(path, ENTRY, ENTRY | {"name": "other", "id": "ijklmnop"} | changes)
    with pytest.raises(KeysFileError) as error:
        read_keys(path)
    assert re.search(fault, str(error.value))
    assert str(error.value).startswith(f"{path}: key 1: ")
    assert "\n" not in str(error.value)


def test_several_faults_are_a_line_each(path: Path) -> None:
    write(path, ENTRY | {"id": ""}, ENTRY | {"name": ""})
    with pytest.raises(KeysFileError) as error:
        read_keys(path)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["key 0", "key 1"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "an object with format and keys"),
        ('{"format": 2, "keys": []}', "format is 2; allowed: 1"),
        ('{"format": true, "keys": []}', "format is True"),
        ('{"format": 1, "keys": {}}', "a list of at most 1000 keys"),
        ('{"format": 1, "keys": [], "more": 1}', "an object with format and keys"),
        ('{"format": 1, "keys": [1]}', "key 0: Expected `object`"),
        (" " * (MAX_FILE_BYTES + 1), "has more than 1048576 bytes"),
    ],
)
def test_a_file_with_another_content_is_refused(content: str, fault: str, path: Path) -> None:
    path.write_text(content)
    with pytest.raises(KeysFileError, match=re.escape(fault)):
        read_keys(path)


def test_a_file_that_is_missing_or_is_none_is_refused(path: Path) -> None:
    with pytest.raises(KeysFileError, match="No such file"):
        read_keys(path)
    path.mkdir()
    with pytest.raises(KeysFileError, match="Is a directory"):
        read_keys(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(KeysFileError, match="is not a regular file"):
        read_keys(path)


@pytest.mark.parametrize("rate", [0.0, 1e10, float("inf"), float("nan")])
def test_a_key_that_could_not_be_read_back_is_not_written(rate: float, path: Path) -> None:
    add_key(path, "crm")
    before = path.read_bytes()
    with pytest.raises(KeysFileError, match="requests_per_second"):
        add_key(path, "other", requests_per_second=rate)
    assert path.read_bytes() == before


def test_who_could_read_the_file_can_still_read_it_after_a_change(path: Path) -> None:
    add_key(path, "crm")
    path.chmod(0o640)
    group = next((group for group in os.getgroups() if group != path.stat().st_gid), path.stat().st_gid)
    os.chown(path, -1, group)
    remove_key(path, "crm")
    assert read_keys(path) == []
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, group)


def test_a_file_that_can_not_be_given_to_its_owner_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(path, "crm")
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(keys_file.os, "chown", refuse)
    found = path.stat()
    owned = os.stat_result((*found[:4], found.st_uid + 1, *found[5:10]))
    monkeypatch.setattr(keys_file, "_find_owner", lambda _: owned)
    with pytest.raises(KeysFileError, match="allowed: its owner, or root"):
        remove_key(path, "crm")
    assert path.read_bytes() == before


def test_the_file_that_a_link_leads_to_is_changed(path: Path) -> None:
    add_key(path, "crm")
    link = path.with_name("link.json")
    link.symlink_to(path)
    remove_key(link, "crm")
    assert link.is_symlink()
    assert read_keys(path) == []


def test_keys_that_are_made_at_the_same_time_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: add_key(path, f"key{number}"), range(8)))
    ring = KeyRing(path)
    assert sorted(key.name for key in read_keys(path)) == sorted(f"key{number}" for number in range(8))
    assert all(ring.verify(key.encode()) for key in made[:2])


def test_a_failed_change_leaves_the_file_as_it_was(path: Path) -> None:
    add_key(path, "crm")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), change_keys(path) as keys:
        keys[len(keys) // 0 :] = []
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir() if entry.name != ".keys.json.lock"] == ["keys.json"]


def test_a_ring_notices_changes_and_keeps_its_keys_if_the_file_is_damaged(path: Path) -> None:
    crm, ops = add_key(path, "crm"), add_key(path, "ops")
    ring = KeyRing(path)
    assert not ring.has_changed()
    remove_key(path, "crm")
    assert ring.has_changed()
    ring.reload()
    assert not ring.has_changed()
    assert ring.verify(crm.encode()) is None
    path.write_text("{")
    assert ring.has_changed()
    with pytest.raises(KeysFileError):
        ring.reload()
    assert not ring.has_changed()  # it is not read again and again
    assert ring.verify(ops.encode()) is not None
    path.unlink()
    assert ring.has_changed()
    with pytest.raises(KeysFileError):
        ring.reload()
    assert ring.verify(ops.encode()) is not None


def test_a_file_that_can_be_read_again_is_read_again(path: Path) -> None:
    """Its content, and the time of its last change, are the same as when it could not be read."""
    add_key(path, "crm")
    ring = KeyRing(path)
    path.chmod(0)
    assert ring.has_changed()
    with suppress(KeysFileError):  # root can read it
        ring.reload()
    assert not ring.has_changed()
    path.chmod(0o600)
    assert ring.has_changed()


def test_expired_keys_are_counted(path: Path) -> None:
    add_key(path, "old", lifetime=-1)
    add_key(path, "new")
    assert KeyRing(path).count_expired() == 1
    assert read_keys(path)[0].has_expired(now())
    assert not read_keys(path)[0].has_expired(now() - timedelta(days=1))


def test_a_file_that_others_can_write_to_is_reported(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_key(path, "crm")
    KeyRing(path)
    assert not caplog.messages
    path.chmod(0o666)
    KeyRing(path)
    assert "can be written to by other users" in caplog.text
