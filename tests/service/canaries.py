"""Services with a canary."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bundles import BANK, CUSTOMER, publish
from running import read_metrics, start
from waiting import wait_until

from churn.registry import Registry
from churn.share import is_chosen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

    from churn.schema import Schema

SHARE = 0.3


def make_models(root: Path, schema: Schema | None = None, **options: Any) -> Path:
    """Publish a version to serve, and a canary whose threshold, or schema, shows that it decided."""
    publish(root, **options)
    if schema is None:
        publish(root, seed=8, threshold=0.0, **options)
    else:
        publish(root, schema, CUSTOMER if "Age" in schema.names else None, **options)
    Registry(root).promote(1)
    return root


@contextmanager
def start_with_canary(models: Path, share: float = SHARE, **settings: Any) -> Iterator[TestClient]:
    """Start a service whose canary is version 2."""
    with start(models, canary_version=2, canary_share=share, **settings) as client:
        wait_until(lambda: "canary" in client.get("/model").json())
        yield client


def named(name: int | str | None, **changed: Any) -> dict[str, Any]:
    """Return a customer with an identifier; some differ from others in age and country."""
    number = int(name or 0)
    own = {"Age": 30 + number % 40, "Geography": BANK["Geography"].categories[number % 3]}
    return ({} if name is None else {"CustomerId": name}) | CUSTOMER | own | changed


def name_version(name: int | str | None, share: float = SHARE) -> str:
    """Return the version that scores a customer."""
    return "2" if is_chosen(name, share) else "1"


def count_by_version(client: TestClient) -> dict[str, float]:
    """Return how many customers each version has scored."""
    metrics = read_metrics(client)
    return {
        version: sum(
            metrics[f'churn_version_customers_total{{decision="{decision}",version="{version}"}}']
            for decision in ("churn", "stay")
        )
        for version in ("1", "2")
    }
