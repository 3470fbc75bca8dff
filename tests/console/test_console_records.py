"""Records on the page: found, read, scored again and opened as a customer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import pytest
from browsing import LOOKS, find_barriers, find_overflow, open_page, read_probability
from bundles import CUSTOMER
from click.testing import CliRunner
from keyed import add_key
from playwright.sync_api import expect
from prefix_proxy import proxying
from service_process import ServiceProcess, running_service
from waiting import wait_until

from cli.main import churn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ONE = "15634602"
TIMES = 25
ERASED = "15647311"
HOSTILE = "<img src=x onerror=alert(1)>"


class Kept:
    """A service that has recorded customers."""

    def __init__(self, url: str) -> None:
        self.url = url
        for age in range(20, 20 + TIMES):
            self.last = self.score(ONE, Age=age)
        self.erased = self.score(ERASED)
        self.hostile = self.score(HOSTILE)
        wait_until(lambda: len(self.find(HOSTILE)) == 1, "the records")

    def score(self, customer: str, **changes: Any) -> str:
        """Score a customer; return the identifier of the request."""
        body = json.dumps({"CustomerId": customer, **CUSTOMER, **changes}).encode()
        request = Request(f"{self.url}/predict?reasons=3", body, {"Content-Type": "application/json"})  # noqa: S310
        with urlopen(request) as response:  # noqa: S310  the service of the test
            return str(response.headers["X-Request-ID"])

    def find(self, customer: str) -> list[Any]:
        with urlopen(f"{self.url}/records?customer={quote(customer)}") as response:  # noqa: S310
            found: list[Any] = json.load(response)["records"]
        return found


@pytest.fixture(scope="module")
def kept(console_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    store = f"sqlite:///{folder}/records.db"
    with running_service(console_models, folder, CHURN_RECORDS=store) as service:
        found = Kept(f"http://127.0.0.1:{service.port}")
        erased = CliRunner().invoke(churn, ["records", "erase", "--url", store, "--customer", ERASED])
        assert erased.exit_code == 0, erased.output
        yield found


def search(page: Page, text: str, by: str = "CustomerId") -> None:
    page.get_by_role("radio", name=by).check()
    page.locator(".search input[name=text]").fill(text)
    page.get_by_role("button", name="Find").click()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_record_is_shown_at_each_width(browser: Browser, kept: Kept, width: int, scheme: str) -> None:
    with open_page(browser, kept.url, "#records", width=width, scheme=scheme) as page:
        search(page, kept.last, "Request")
        expect(page.get_by_role("heading", name="1 record, newest first")).to_be_visible()
        page.locator("summary").click()
        expect(page.locator(".said")).to_contain_text(f"Age{19 + TIMES} years")
        expect(page.locator(".said")).to_contain_text(kept.last)
        expect(page.get_by_role("heading", name="Why")).to_be_visible()
        page.get_by_role("button", name="Score again and compare").click()
        expect(page.get_by_role("status")).to_contain_text("1 record scored again: all are the same to the last digit.")
        assert find_overflow(page) == []
        assert find_barriers(page) == []


def test_all_records_of_a_customer_are_found_page_by_page(browser: Browser, kept: Kept) -> None:
    expected = [f"{record['probability']:.6f}" for record in kept.find(ONE)]
    with open_page(browser, kept.url, "#records") as page:
        search(page, ONE)
        expect(page.locator(".records > li")).to_have_count(20)
        page.get_by_role("button", name="Older ones").click()
        expect(page.locator(".records > li")).to_have_count(TIMES)
        expect(page.get_by_role("button", name="Older ones")).to_have_count(0)
        shown = page.locator(".said dl:nth-of-type(1) div:has(dt:text-is('Probability')) dd").all_text_contents()
        assert [f"{float(text):.6f}" for text in shown] == expected
        page.get_by_label("from").fill("2100-01-01")
        search(page, ONE)
        expect(page.get_by_role("heading", name="Nothing was recorded")).to_be_visible()


def test_a_recorded_customer_is_opened_in_the_form(browser: Browser, kept: Kept) -> None:
    with open_page(browser, kept.url) as page:
        read_probability(page)
        page.get_by_role("link", name="Records").click()
        search(page, kept.last, "Request")
        page.locator("summary").click()
        page.get_by_role("link", name="Open this customer").click()
        expect(page.locator("[data-field=Age] input").first).to_have_value(str(19 + TIMES))
        expect(page.get_by_test_id("probability")).to_have_attribute("title", str(kept.find(ONE)[0]["probability"]))


def test_what_was_erased_is_gone_and_what_attacks_does_nothing(browser: Browser, kept: Kept) -> None:
    with open_page(browser, kept.url, "#records") as page:
        search(page, ERASED)
        expect(page.get_by_role("heading", name="Nothing was recorded")).to_be_visible()
        search(page, kept.erased, "Request")
        page.locator("summary").click()
        expect(page.locator(".said")).to_contain_text("It was erased.")
        expect(page.get_by_role("link", name="Open this customer")).to_have_count(0)
        page.get_by_role("button", name="Score again and compare").click()
        expect(page.locator(".replay")).to_contain_text("1 record could not be scored again")
        search(page, HOSTILE)
        page.locator("summary").click()
        expect(page.locator(".said")).to_contain_text(HOSTILE)
        search(page, "")
        expect(page.get_by_role("alert")).to_have_text("Give the CustomerId.")


def test_it_is_done_with_the_keyboard(browser: Browser, kept: Kept) -> None:
    with open_page(browser, kept.url, "#records") as page:
        page.locator(".search input[name=by]").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")
        page.keyboard.type(kept.last)
        page.keyboard.press("Enter")
        expect(page.locator("summary")).to_be_visible()
        for _ in range(15):
            page.keyboard.press("Tab")
            if page.locator("summary").evaluate("(it) => it === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.locator(".said")).to_be_visible()


def test_who_may_not_read_records_has_no_such_view(
    browser: Browser, console_models: Path, tmp_path: Path, url: str
) -> None:
    keys = {scope: add_key(tmp_path / "keys.json", scope, ["predict", scope]) for scope in ("metrics", "records")}
    variables = {"CHURN_RECORDS": f"sqlite:///{tmp_path}/records.db", "CHURN_API_KEYS": str(tmp_path / "keys.json")}
    service = ServiceProcess(console_models, tmp_path, 1, variables)
    try:
        service.wait_for_log("serving model")
        wait_until(service.is_ready, "readiness")
        for scope, there, absent in (("metrics", "Now", "Records"), ("records", "Records", "Now")):
            with open_page(browser, f"http://127.0.0.1:{service.port}", key=keys[scope]) as page:
                expect(page.get_by_role("link", name=there)).to_be_visible()
                expect(page.get_by_role("link", name=absent)).to_have_count(0)
    finally:
        service.kill()
    with open_page(browser, url) as page:
        expect(page.get_by_role("link", name="Now")).to_be_visible()
        expect(page.get_by_role("link", name="Records")).to_have_count(0)


def test_records_are_shown_below_a_path_prefix(browser: Browser, kept: Kept) -> None:
    with (
        proxying(int(urlsplit(kept.url).port or 0), "/risk/churn") as prefixed,
        open_page(browser, prefixed, "#records") as page,
    ):
        search(page, kept.last, "Request")
        expect(page.get_by_role("heading", name="1 record, newest first")).to_be_visible()
        page.locator("summary").click()
        page.get_by_role("button", name="Score again and compare").click()
        expect(page.get_by_role("status")).to_contain_text("all are the same to the last digit")
