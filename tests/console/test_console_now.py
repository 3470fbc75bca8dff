"""What happens now on the page, from the service's own metrics."""

from __future__ import annotations

import json
import math
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
from bank import draw_customers
from browsing import LOOKS, find_barriers, find_overflow, open_page
from bundles import CUSTOMER
from playwright.sync_api import expect
from record_samples import judge_samples
from service_process import ServiceProcess, running_service
from waiting import wait_until

from churn.drift import population_stability_index
from records.judging.judgements import save_judgement
from records.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from records.judging.judgements import Judgement

pytestmark = pytest.mark.slow

OLD = 3_000
BAD = {"Age": "x"}


@pytest.fixture(scope="module")
def busy_url(console_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that has scored old customers only, and has rejected one."""
    with running_service(console_models, tmp_path_factory.mktemp("busy")) as service:
        url = f"http://127.0.0.1:{service.port}"
        send(url, "text/csv", draw_customers(OLD).assign(Age=75).to_csv(index=False).encode())
        yield url


def send(url: str, media_type: str, content: bytes) -> int:
    request = Request(f"{url}/predict", content, {"Content-Type": media_type})  # noqa: S310  the service of the test
    with urlopen(request) as response:  # noqa: S310
        return int(response.status)


def import_module(page: Page, name: str, call: str, *arguments: Any) -> Any:
    """Call a function of a module of the page."""
    script = """async ([name, call, given]) => {
      const files = document.querySelector('script[type=module]').src.replace('main.js', '');
      return (await import(files + name))[call](...given);
    }"""
    return page.evaluate(script, [name, call, arguments])


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_is_shown_at_each_width(browser: Browser, busy_url: str, width: int, scheme: str) -> None:
    with open_page(browser, busy_url, "#now", width=width, scheme=scheme) as page:
        expect(page.locator("#now-scores")).to_be_visible()
        expect(page.locator(".figure", has_text="Customers scored")).to_contain_text(f"{OLD:,}")
        first = page.locator("table.drift tr").first
        expect(first).to_contain_text("Age")
        expect(first).to_contain_text("large shift")
        first.get_by_role("button").click()
        expect(page.get_by_role("group", name="Bins of Age").locator("tr", has_text="[53, inf)")).to_contain_text(
            "100.0%"
        )
        assert find_overflow(page) == []
        assert find_barriers(page) == []


def test_a_chart_without_readings_says_so(browser: Browser, url: str) -> None:
    with open_page(browser, url, "#now") as page:
        latency = page.locator("section[aria-labelledby=latency]")
        expect(latency.get_by_text("Drawn after three readings.")).to_be_visible()
        expect(latency.get_by_text("No customer in these minutes.")).to_be_visible()
        page.request.post(f"{url}/predict", data=CUSTOMER)
        expect(latency.locator("canvas")).to_be_visible()


def test_it_follows_the_traffic(browser: Browser, busy_url: str) -> None:
    with open_page(browser, busy_url, "#now") as page:
        scored = page.locator(".figure", has_text="Customers scored")
        expect(scored).to_be_visible()
        rate = page.locator(".figure", has_text="Customers/s").locator("dd").first
        expect(rate).not_to_have_text("…")
        send(busy_url, "text/csv", draw_customers(500).to_csv(index=False).encode())
        expect(rate).not_to_have_text("0")
        expect(page.get_by_role("img", name="The last minutes; now: requests")).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")


def test_without_metrics_there_is_no_such_view(browser: Browser, console_models: Path, tmp_path: Path) -> None:
    with (
        running_without_metrics(console_models, tmp_path, CHURN_METRICS="false") as url,
        open_page(browser, url) as page,
    ):
        expect(page.get_by_role("link", name="Model")).to_be_visible()
        expect(page.get_by_test_id("probability")).to_be_visible()
        expect(page.get_by_role("link", name="Now")).to_have_count(0)


def test_what_a_management_port_serves_is_not_on_the_page(
    browser: Browser, console_models: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"CHURN_MANAGEMENT_PORT": str(port), "CHURN_ADMIN": "true", "XDG_RUNTIME_DIR": str(tmp_path)}
    with running_without_metrics(console_models, tmp_path, 2, **variables) as url:
        with open_page(browser, url) as page:
            expect(page.get_by_test_id("probability")).to_be_visible()
            expect(page.get_by_role("link", name="Now")).to_have_count(0)
            page.goto(f"{url}/#now")  # an old link shows the first view
            page.reload()
            expect(page.get_by_test_id("probability")).to_be_visible()
            page.get_by_role("link", name="Model").click()
            expect(page.locator("#threshold")).to_be_visible()
            expect(page.get_by_role("heading", name="Versions")).to_have_count(0)
        with pytest.raises(OSError, match="404"):
            urlopen(f"http://127.0.0.1:{port}/")


@contextmanager
def running_without_metrics(models: Path, folder: Path, workers: int = 1, **variables: str) -> Iterator[str]:
    """Start a service whose port has no metrics, which tell when it is ready elsewhere."""
    service = ServiceProcess(models, folder, workers, variables)
    try:
        service.wait_for_log("serving model")
        wait_until(service.is_ready, "readiness")
        yield f"http://127.0.0.1:{service.port}"
    finally:
        service.kill()


def test_the_index_is_that_of_the_rules_and_of_batch_jobs(browser: Browser, url: str) -> None:
    draw = np.random.default_rng(0)
    with open_page(browser, url) as page:
        for bins in (2, 10, 20):
            expected = draw.integers(0, 50, bins) / 7
            found = draw.integers(0, 1000, bins)
            index = import_module(page, "now/prometheus.js", "stabilityIndex", expected.tolist(), found.tolist())
            assert index == pytest.approx(population_stability_index(expected, found))
        empty = import_module(page, "now/prometheus.js", "stabilityIndex", [1.0, 2.0], [0, 0])
        assert empty is None or math.isnan(empty)


def test_metrics_are_parsed_with_any_label(browser: Browser, url: str) -> None:
    text = (
        '# HELP a b\na_total{x="1,2",y="q\\"}\\\\ \\nz"} 3.0\na_total{x="3",y=""} 4e-05\nb 1.0\n'
        'c_bucket{le="0.1"} 5.0\nc_bucket{le="0.5"} 10.0\nc_bucket{le="+Inf"} 10.0\n'
    )
    script = """async (text) => {
      const files = document.querySelector('script[type=module]').src.replace('main.js', '');
      const { parseMetrics, sum, sumBy, buckets, quantile } = await import(files + 'now/prometheus.js');
      const metrics = parseMetrics(text);
      const counts = buckets(metrics, 'c');
      return [sum(metrics, 'a_total'), [...sumBy(metrics, 'a_total', 'y')], sum(metrics, 'b'), sum(metrics, 'none'),
        [0.25, 0.5, 0.75, 1].map((share) => quantile(share, counts))];
    }"""
    with open_page(browser, url) as page:
        total, by_label, single, none, quantiles = page.evaluate(script, text)
    assert total == pytest.approx(3.00004)
    assert by_label == [['q"}\\ \nz', 3.0], ["", 4e-05]]
    assert (single, none) == (1.0, 0)
    assert quantiles == pytest.approx([0.05, 0.1, 0.3, 0.5])


def test_a_rejected_request_is_listed(browser: Browser, busy_url: str) -> None:
    request = Request(f"{busy_url}/predict", json.dumps(BAD).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with pytest.raises(OSError, match="422"):
        urlopen(request)  # noqa: S310
    with open_page(browser, busy_url, "#now") as page:
        expect(page.locator("#rejected")).to_be_visible()
        expect(page.locator("tr", has_text="invalid-customers")).to_be_visible()


@pytest.fixture(scope="module")
def judged(console_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Judgement]]:
    """A service whose records of March were judged, and those of May not yet."""
    folder = tmp_path_factory.mktemp("judged")
    url = f"sqlite:///{folder}/records.db"
    store = open_store(url, create=True)
    judgement = judge_samples(store, folder, console_models)
    save_judgement(store, judgement)
    with running_service(console_models, folder, CHURN_RECORDS=url) as service:
        yield f"http://127.0.0.1:{service.port}", judgement


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_live_performance_is_shown_where_outcomes_are_known(
    browser: Browser, judged: tuple[str, Judgement], width: int, scheme: str
) -> None:
    url, judgement = judged
    march, may = judgement["months"]
    with open_page(browser, url, "#now", width=width, scheme=scheme) as page:
        card = page.locator("section[aria-labelledby=performance]")
        expect(card.locator(".figure", has_text="ROC AUC")).to_contain_text(
            f"{march['measures']['roc_auc']['value']:.3f}"
        )
        expect(card.locator(".figure", has_text="Left")).to_contain_text("34.0%")
        rows = card.locator("tbody tr")
        expect(rows).to_have_count(2)
        none = "\N{EN DASH}"
        expect(rows.first).to_contain_text(f"2026-05500{none}{may['expected_of_all']['roc_auc']['value']:.3f}{none}")
        expect(rows.last).to_contain_text("2026-03100100")
        assert find_overflow(page) == []
        assert find_barriers(page) == []


def test_without_records_there_is_no_card_of_performance(browser: Browser, busy_url: str) -> None:
    with open_page(browser, busy_url, "#now") as page:
        expect(page.locator("#now-scores")).to_be_visible()
        expect(page.locator("#performance")).to_have_count(0)
