"""The file of API keys, which `churn keys` writes and the service reads.

It is JSON and holds no secret, only salted slow hashes: whoever can read it can't use a key, but whoever can write it
can add one.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from churn.errors import ChurnError
from churn.runtime.files import open_regular, write_aside
from service.guard.key_hash import HASH_FORM, ID_FORM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
MAX_FILE_BYTES = 2**20
MAX_KEYS = 1000
"""Also the bound on the labels of the metrics that name a key."""

NAME_FORM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Characters that need no escaping in a log or a metric."""

Scope = Literal["predict", "metrics", "admin", "records"]
SCOPES: tuple[Scope, ...] = ("predict", "metrics", "admin", "records")

MAX_RATE = 1e9

Rate = Annotated[float, msgspec.Meta(gt=0, le=MAX_RATE)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class KeysFileError(ChurnError):
    """The file of API keys can't be used: each fault has a line."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stored key.

    Attributes
    ----------
    name : str
        Names the caller in logs and metrics.
    id : str
        Part of the key that finds this entry.
    hash : str
        See `service.guard.key_hash.hash_secret`.
    scopes : tuple of str
        What the caller may do.
    created, expires : datetime
        With a time zone; a key without `expires` does not expire.
    requests_per_second, customers_per_second : float or None
        Rate limits; None: those of the settings.
    """

    name: Annotated[str, msgspec.Meta(pattern=rf"\A{NAME_FORM}\Z")]
    id: Annotated[str, msgspec.Meta(pattern=rf"\A{ID_FORM}\Z")]
    hash: Annotated[str, msgspec.Meta(pattern=rf"\A{HASH_FORM}\Z")]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    created: Moment
    expires: Moment | None = None
    requests_per_second: Rate | None = None
    customers_per_second: Rate | None = None

    def has_expired(self, now: datetime) -> bool:
        """Return whether the key has expired."""
        return self.expires is not None and now >= self.expires


def read_keys(path: Path) -> list[ApiKey]:
    """Read the file.

    Raises
    ------
    KeysFileError
        If it is missing, is not a regular file, is larger than `MAX_FILE_BYTES`, or has faults: a line for each.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror}; `churn keys create` writes it") from None
    if len(data) > MAX_FILE_BYTES:
        raise KeysFileError(f"{path}: has more than {MAX_FILE_BYTES} bytes")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KeysFileError(f"{path}: is not JSON: {error}") from None
    keys, faults = _check(content)
    if faults:
        raise KeysFileError("\n".join(f"{path}: {fault}" for fault in faults))
    return keys


def _check(content: object) -> tuple[list[ApiKey], list[str]]:
    """Return the keys of a file's content, and its faults."""
    if not isinstance(content, dict) or content.keys() != {"format", "keys"}:
        return [], ["allowed: an object with format and keys"]
    if content["format"] != FORMAT or isinstance(content["format"], bool):
        return [], [f"format is {content['format']!r}; allowed: {FORMAT}"]
    entries = content["keys"]
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        return [], [f"keys: allowed: a list of at most {MAX_KEYS} keys"]
    keys: list[ApiKey] = []
    faults: list[str] = []
    for position, entry in enumerate(entries):
        try:
            key = msgspec.convert(entry, ApiKey)
        except msgspec.ValidationError as error:
            faults.append(f"key {position}: {error}")
            continue
        if len({*key.scopes}) < len(key.scopes):
            faults.append(f"key {position}: a scope is repeated")
        faults += [
            f"key {position}: the {what} {value!r} is that of another key"
            for what, value, others in (
                ("name", key.name, {other.name for other in keys}),
                ("id", key.id, {other.id for other in keys}),
            )
            if value in others
        ]
        keys.append(key)
    return keys, faults


def write_keys(path: Path, keys: list[ApiKey]) -> None:
    """Replace the file atomically. Owner, group and mode stay; a new file can be read by its owner only.

    Raises
    ------
    KeysFileError
        If a key could not be read back, or this user can't give the file to its owner: the service might not be able
        to read it any more, and would not learn that a key is revoked. The file is unchanged then.
    """
    content = {"format": FORMAT, "keys": msgspec.to_builtins(keys)}
    if faults := _check(json.loads(json.dumps(content)))[1]:
        raise KeysFileError("\n".join(f"{path}: {fault}" for fault in faults))
    with write_aside(path) as aside:
        aside.chmod(0o600)
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if (before := _find_owner(path)) is not None:
            _give(aside, before, path)


def _find_owner(path: Path) -> os.stat_result | None:
    """Return owner, group and mode of a file; None if there is none."""
    return path.stat() if path.exists() else None


def _give(aside: Path, before: os.stat_result, path: Path) -> None:
    """Give a new file the owner, group and mode of the one that it replaces."""
    try:
        if (before.st_uid, before.st_gid) != (aside.stat().st_uid, aside.stat().st_gid):
            os.chown(aside, before.st_uid, before.st_gid)
        aside.chmod(stat.S_IMODE(before.st_mode))
    except OSError as error:
        raise KeysFileError(
            f"{path}: can't be replaced by a file of the same owner (user {before.st_uid}, group {before.st_gid}): "
            f"{error.strerror}; allowed: its owner, or root"
        ) from None


@contextmanager
def change_keys(path: Path) -> Iterator[list[ApiKey]]:
    """Yield the keys, and write them back as the block has changed them; nobody else changes them meanwhile.

    Raises
    ------
    KeysFileError
        If the file has faults, or its folder can't be written to. A file that is missing has no keys.
    """
    path = path.resolve()  # of a link, the file is changed that it leads to
    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise KeysFileError(f"{path.parent}: can't be written to: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else []
        before = list(keys)
        yield keys
        if keys != before:
            write_keys(path, keys)
    finally:
        os.close(lock)


def now() -> datetime:
    """Return the time in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
