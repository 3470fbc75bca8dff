"""Pin base images by the digests that their tags have now: ``make base-images``.

``python deploy/supply/pin_images.py DOCKER``. The references in the Dockerfile and in docker-compose.yml get a new
``@sha256:…``, as the registry answers ``docker buildx imagetools inspect`` (the digest of all platforms together).
Nothing is written unless all of them can be looked up.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

_TAG = r"(?P<tag>[\w.-]+)(?:@sha256:[0-9a-f]{64})?"
REFERENCES = {
    "Dockerfile": re.compile(rf"(?m)^(?P<before>ARG PYTHON=){_TAG}$"),
    "docker-compose.yml": re.compile(rf"(?P<before>:-(?P<name>(?:prom|grafana)/[\w-]+):){_TAG}"),
}
"""Base images: the version of python of the Dockerfile, and the images of others in the Compose file."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def ask(docker: str, reference: str) -> str:
    """Return the digest of an image in its registry.

    Raises
    ------
    SystemExit
        If it can't be looked up.
    """
    command = [docker, "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        sys.exit(f"{docker}: {error.strerror}; nothing was changed")
    if done.returncode or not _DIGEST.fullmatch(done.stdout.strip()):
        sys.exit(f"{reference} can't be looked up; nothing was changed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def pin(text: str, pattern: re.Pattern[str], digest_of: Callable[[str], str]) -> str:
    """Return a file with the digest of each image behind its tag."""

    def renew(match: re.Match[str]) -> str:
        name = match.groupdict().get("name") or "python"
        tag = match["tag"]
        return f"{match['before']}{tag}@{digest_of(f'{name}:{tag}')}"

    return pattern.sub(renew, text)


def main(docker: str, root: Path = ROOT) -> None:
    """Run the command."""
    before = {name: (root / name).read_text(encoding="utf-8") for name in REFERENCES}
    after = {name: pin(before[name], pattern, lambda ref: ask(docker, ref)) for name, pattern in REFERENCES.items()}
    for name, text in after.items():
        (root / name).write_text(text, encoding="utf-8")
        print(f"{name}: {'unchanged' if text == before[name] else 'changed'}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docker")
