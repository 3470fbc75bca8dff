"""The page behind a reverse proxy that adds a path prefix: all its addresses are relative."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from bank import draw_customers
from browsing import open_page, read_probability
from playwright.sync_api import expect
from prefix_proxy import proxying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prefixed(url: str) -> Iterator[str]:
    with proxying(int(urlsplit(url).port or 0), "/risk/churn") as address:
        yield address


def test_a_customer_is_scored_and_reopened(browser: Browser, prefixed: str) -> None:
    with open_page(browser, prefixed) as page:  # which requires that nothing is asked for outside of the prefix
        probability = read_probability(page)
        expect(page.get_by_role("heading", name="Why")).to_be_visible()
        expect(page.locator(".curve canvas")).to_be_visible()
        expect(page.locator(".changes ol > li").first).to_be_visible()
        copied = {}
        for name in ("link", "curl", "Python"):
            page.get_by_role("button", name=name).click()
            expect(page.locator(".copy", has_text=name).get_by_role("status")).to_have_text("copied")
            copied[name] = page.evaluate("navigator.clipboard.readText()")
    assert copied["link"].startswith(f"{prefixed}/#customer?")
    assert f"{prefixed}/predict?" in copied["curl"]
    assert f"{prefixed}/predict?" in copied["Python"]
    with open_page(browser, prefixed, copied["link"].removeprefix(f"{prefixed}/")) as page:
        assert read_probability(page) == probability


def test_every_other_view_works(browser: Browser, prefixed: str, tmp_path: Path) -> None:
    table = tmp_path / "customers.csv"
    draw_customers(200).to_csv(table, index=False)
    with open_page(browser, prefixed) as page:
        page.get_by_role("link", name="Model").click()
        expect(page.locator(".threshold canvas")).to_be_visible()
        expect(page.get_by_role("button", name="Promote version 2")).to_be_visible()
        page.locator("summary", has_text="Report").click()
        expect(page.frame_locator("iframe").get_by_role("heading", name="Churn model, version 1")).to_be_visible()
        page.locator("summary", has_text="Model card").click()
        expect(page.locator(".markdown")).to_contain_text("Intended use")
        page.get_by_role("link", name="Now").click()
        expect(page.locator("table.drift tr").first).to_be_visible()
        page.get_by_role("link", name="File").click()
        page.locator("input[type=file]").set_input_files(table)
        expect(page.get_by_text("done in")).to_be_visible()
        expect(page.locator(".figure").first).to_contain_text("200")


def test_the_proxy_serves_nothing_outside_of_the_prefix(prefixed: str) -> None:
    with urlopen(f"{prefixed}/model") as response:  # noqa: S310  the proxy of the test
        assert json.load(response)["version"] == "1"
    root = prefixed.removesuffix("/risk/churn")
    for path in ("/", "/model", "/risk/model", "/risk/churnmodel"):
        with pytest.raises(OSError, match="404"):
            urlopen(f"{root}{path}")  # noqa: S310
