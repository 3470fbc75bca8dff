from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from scraping import WORKERS, scrape
from waiting import wait_until

for folder in ("benchmarks", "deploy/grafana", "deploy/kubernetes"):  # commands that the tests run
    sys.path.append(str(REPOSITORY / folder))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The shipped model, served by two workers."""
    from servers import BIN, launch, ours
    from watching import draw

    if not (BIN / "churn").exists():
        pytest.skip("the command churn is not installed")
    server = ours("onnx", REPOSITORY / "models", workers=WORKERS)
    with launch(server, draw(1, 0), tmp_path_factory.mktemp("service") / "log") as running:
        wait_until(lambda: scrape(running.port).get("churn_ready_workers") == WORKERS, "that each worker is ready")
        yield running
