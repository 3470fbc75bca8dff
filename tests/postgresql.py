"""A PostgreSQL server of the tests' own, where its programs are installed: a new folder, a free port, no network."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "bank"
PASSWORD = "s3cret-word"  # noqa: S105  the server trusts everybody on its socket; the tests look for this text
DATABASE = "postgres"


def find_programs() -> Path | None:
    """Return the newest folder that holds PostgreSQL's server programs."""
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders = [*sorted(debian, key=lambda path: float(path.parent.name), reverse=True)]
    found = shutil.which("initdb")
    folders += [Path(found).parent] if found else []
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def why_not() -> str | None:
    """Return why no server can be started here, or None."""
    if find_programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


class _Server:
    """A server in a folder of its own."""

    def __init__(self, programs: Path, *, has_fsync: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="churn-postgresql-"))
        self._programs = programs
        self._data = self.folder / "data"
        self._owner: dict[str, Any] = {}
        fsync = "on" if has_fsync else "off"
        self._options = f"-k {self.folder} -c listen_addresses= -c fsync={fsync} -c max_connections=20"
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
            self._owner = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid, "extra_groups": []}

    def _call(self, *command: object) -> None:
        # The server inherits what it prints to, and would hold a pipe open.
        with self._log.open("w") as log:
            subprocess.run(  # noqa: S603
                list(map(str, command)), check=True, cwd=self.folder, stdout=log, stderr=log, **self._owner
            )

    @property
    def _log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def create(self) -> None:
        form = ("--auth=trust", f"--username={USER}", "--no-sync", "--locale=C.UTF-8")
        self._call(self._programs / "initdb", "--pgdata", self._data, *form)

    def start(self) -> None:
        control = (self._programs / "pg_ctl", "--pgdata", self._data, "-o", self._options)
        self._call(*control, "--log", self.folder / "server.log", "--wait", "start")

    def stop(self) -> None:
        self._call(self._programs / "pg_ctl", "--pgdata", self._data, "--mode=immediate", "--wait", "stop")

    def remove(self) -> None:
        shutil.rmtree(self.folder)
        self._log.unlink()


_running: dict[str, _Server] = {}


@contextmanager
def run_postgresql(*, has_fsync: bool = False) -> Iterator[str]:
    """Start a server, yield the URL of its database, and stop it; with `has_fsync`, it waits for the disk."""
    programs = find_programs()
    assert programs is not None
    server = _Server(programs, has_fsync=has_fsync)
    server.create()
    server.start()
    url = f"postgresql://{USER}:{PASSWORD}@/{DATABASE}?host={server.folder}"
    _running[url] = server
    try:
        yield url
    finally:
        del _running[url]
        server.stop()
        server.remove()


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """Stop the server of a URL, at once, for the time of the block."""
    server = _running[url]
    server.stop()
    try:
        yield
    finally:
        server.start()


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
