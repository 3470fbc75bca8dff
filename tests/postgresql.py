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


@contextmanager
def run_postgresql() -> Iterator[str]:
    """Start a server, yield the URL of its database, and stop it."""
    programs = find_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="churn-postgresql-"))
    owner: dict[str, Any] = {}
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        owner = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid, "extra_groups": []}

    def call(*command: object) -> None:
        # The server inherits what it prints to, and would hold a pipe open.
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            subprocess.run(list(map(str, command)), check=True, cwd=folder, stdout=log, stderr=log, **owner)  # noqa: S603

    data = folder / "data"
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=20"
    call(programs / "initdb", "--pgdata", data, "--auth=trust", f"--username={USER}", "--no-sync", "--locale=C.UTF-8")
    call(programs / "pg_ctl", "--pgdata", data, "-o", options, "--log", folder / "server.log", "--wait", "start")
    try:
        yield f"postgresql://{USER}:{PASSWORD}@/{DATABASE}?host={folder}"
    finally:
        call(programs / "pg_ctl", "--pgdata", data, "--mode=immediate", "--wait", "stop")
        shutil.rmtree(folder)
        (folder.parent / f"{folder.name}.log").unlink()


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
