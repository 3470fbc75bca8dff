"""The engine that builds and runs containers, docker or podman, by its command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "python:3.11-slim-bookworm"
LOCKED_DOWN = [
    "--read-only",
    "--tmpfs=/tmp:mode=1777",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=none",  # what is asked of the service is asked inside its container
    "--pids-limit=1000",
]
USER = "10001"


class Engine:
    """Builds and runs.

    Parameters
    ----------
    command : str
        docker or podman, or what is called like them.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self._environment = dict(os.environ)
        # A folder with Docker's plugins and no configuration is good for docker and an error to podman.
        if not (Path(os.environ.get("DOCKER_CONFIG", "")) / "config.json").is_file():
            self._environment.pop("DOCKER_CONFIG", None)
        self.is_podman = "podman" in self("version").lower()

    def __call__(self, *arguments: object, check: bool = True) -> str:
        """Run one of its commands; return what it says."""
        done = self.run(*arguments)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, whatever it ends with."""
        command = [self.command, *map(str, arguments)]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)  # noqa: S603

    def build(self, context: Path, target: str, tag: str) -> str:
        """Build a target; return its tag."""
        flags = ["--format=docker"] if self.is_podman else []  # it would leave the health check out
        if self.run("run", "--rm", BASE, "true").returncode:
            flags.append("--network=host")  # where the engine can't make a network
        arguments = ("--build-arg", f"VERSION={__version__}", "--target", target, "--tag", tag)
        self("build", "--quiet", *flags, *arguments, context)
        return tag

    def inspect(self, image: str) -> Any:
        """Return what the engine knows of an image."""
        return json.loads(self("image", "inspect", image))[0]

    def do(self, image: str, *command: object, flags: tuple[object, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a container to its end, locked down."""
        return self.run("run", "--rm", *LOCKED_DOWN, *flags, image, *command)

    @contextmanager
    def start(self, image: str, *flags: object) -> Iterator[Container]:
        """Run a container, locked down, and remove it in the end."""
        name = f"churn-test-{uuid.uuid4().hex[:8]}"
        # The image listens on all addresses of its container, which has no network here.
        self("run", "--detach", "--name", name, *LOCKED_DOWN, "--env=CHURN_AUTH=none", *flags, image)
        try:
            yield Container(self, name)
        finally:
            self("rm", "--force", name, check=False)


class Container:
    """A container that runs the service."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name
        self._check = find_health_check(engine.inspect(json.loads(engine("container", "inspect", name))[0]["Image"]))[
            1:
        ]

    def do(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return self._engine.run("exec", self.name, *command)

    def wait_until_healthy(self, attempts: int = 240) -> None:
        """Run the image's own health check until it passes, every half second."""
        for _ in range(attempts):
            if (done := self.do(*self._check)).returncode == 0:
                return
            time.sleep(0.5)
        raise AssertionError(done.stdout + self.logs())

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Send the service a request; return the status and the answer's text."""
        program = (
            "import sys, urllib.request as r, urllib.error as e\n"
            "path, body = sys.argv[1:]\n"
            "json = {'content-type': 'application/json'}\n"
            "q = r.Request('http://127.0.0.1:8000' + path, body.encode() or None, json)\n"
            "try: a = r.urlopen(q, timeout=20)\n"
            "except e.HTTPError as error: a = error\n"
            "print(a.status); print(a.read().decode())"
        )
        done = self.do("python", "-c", program, path, json.dumps(body) if body is not None else "")
        assert done.returncode == 0, done.stderr
        status, _, answer = done.stdout.partition("\n")
        return int(status), answer

    def logs(self) -> str:
        """Return what it has logged."""
        done = self._engine.run("logs", self.name)
        return done.stdout + done.stderr

    def signal(self, name: str) -> None:
        """Send its process 1 a signal."""
        self._engine("kill", "--signal", name, self.name)

    def wait(self) -> int:
        """Wait for its end; return the exit status."""
        return int(self._engine("wait", self.name))

    def stop(self) -> int:
        """Stop it as `docker stop` does, by the image's signal and killed after 10 s; return the exit status."""
        self._engine("stop", "--time", "10", self.name)
        return int(self._engine("container", "inspect", "--format", "{{.State.ExitCode}}", self.name))


def find_health_check(image: Any) -> list[str]:
    """Return an image's health check, from what docker says of it, or podman, which says it elsewhere; may be empty."""
    found = image["Config"].get("Healthcheck") or image.get("Healthcheck") or {"Test": []}
    return list(found["Test"])


def find_engine() -> tuple[Engine | None, str]:
    """Return the engine of this machine, or why there is none."""
    tried = list(dict.fromkeys([os.environ.get("DOCKER", "docker"), "docker", "podman"]))
    for command in tried:
        if shutil.which(command) is None:
            continue
        if subprocess.run([command, "info"], capture_output=True, check=False).returncode == 0:  # noqa: S603
            engine = Engine(command)
            if engine.run("image", "inspect", BASE).returncode and engine.run("pull", BASE).returncode:
                return None, f"{command} has no image {BASE} and can't pull it"
            return engine, ""
    return None, f"no engine for containers answers ({', '.join(tried)}; DOCKER names another)"
