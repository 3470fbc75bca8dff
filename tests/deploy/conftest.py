from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from scraping import WORKERS, scrape
from tampering import forge_manifest
from waiting import wait_until

from churn.registry import Registry

for folder in ("benchmarks", "deploy/grafana", "deploy/kubernetes", "deploy/supply"):  # commands that the tests run
    sys.path.append(str(REPOSITORY / folder))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The shipped model, served by two workers, with a copy as their shadow, which has panels too."""
    from servers import BIN, Server, launch, ours
    from watching import draw

    if not (BIN / "churn").exists():
        pytest.skip("the command churn is not installed")
    models = tmp_path_factory.mktemp("watched") / "models"
    shutil.copytree(REPOSITORY / "models", models)
    version = max(Registry(models).versions()) + 1
    copy = shutil.copytree(Registry(models).current_folder(), models / str(version))
    forge_manifest(copy, lambda content: content.update(version=version))
    server = ours("onnx", models, workers=WORKERS)
    server = Server(server.name, server.command, {**server.environment, "CHURN_SHADOW_VERSION": str(version)})
    with launch(server, draw(1, 0), tmp_path_factory.mktemp("service") / "log") as running:
        wait_until(lambda: scrape(running.port).get("churn_ready_workers") == WORKERS, "that each worker is ready")
        yield running
