from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import bundles
import pytest
from bank import REPOSITORY
from service_process import running_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file; each opens a window of its own.

    Not for all tests: as long as Playwright runs, its event loop is that of the thread, and other tests have none.
    """
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield found
        found.close()


@pytest.fixture(scope="session")
def console_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The included model as version 1, and a tiny one with the same fields as version 2."""
    root = tmp_path_factory.mktemp("console") / "models"
    shutil.copytree(REPOSITORY / "models", root)
    bundles.publish(root, background=6)
    (root / "current").write_text("1\n")
    return root


@pytest.fixture(scope="session")
def url(console_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service for all tests, which none of them changes for the others."""
    with running_service(console_models, tmp_path_factory.mktemp("service"), CHURN_ADMIN="true") as service:
        yield f"http://127.0.0.1:{service.port}"


@pytest.fixture
def own_url(console_models: Path, tmp_path: Path) -> Iterator[str]:
    """A service of the test's own with a folder of its own, whose model it changes."""
    models = tmp_path / "models"
    shutil.copytree(console_models, models)
    with running_service(models, tmp_path, CHURN_ADMIN="true", CHURN_MODEL_VERSION="current") as service:
        yield f"http://127.0.0.1:{service.port}"
