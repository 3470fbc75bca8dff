"""The tasks of the views Model and Now, done with the keyboard alone; those of other views are beside their tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from bank import draw_customers
from browsing import open_page, tab_to
from playwright.sync_api import expect
from waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

SLIDER = "#threshold-slider"


def get(url: str, path: str) -> Any:
    with urlopen(f"{url}/{path}") as response:  # noqa: S310  the service of the test
        return json.load(response)


def go_to_view(page: Page, name: str) -> None:
    """Follow the link of a view."""
    expect(page.get_by_test_id("probability")).to_be_visible()
    tab_to(page, f"nav a[href='#{name}']")
    page.keyboard.press("Enter")


def test_a_version_is_promoted_and_rolled_back(browser: Browser, own_url: str) -> None:
    with open_page(browser, own_url) as page:
        go_to_view(page, "model")
        expect(page.get_by_role("button", name="Promote version 2")).to_be_visible()
        tab_to(page, ".versions button")
        page.keyboard.press("Enter")
        question = page.get_by_role("dialog", name="Serve version 2?")
        expect(question.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Enter")
        expect(question).to_have_count(0)
        expect(page.get_by_role("button", name="Promote version 2")).to_be_focused()
        assert get(own_url, "model")["version"] == "1"

        page.keyboard.press("Enter")
        tab_to(page, "dialog .main")
        page.keyboard.press("Enter")
        done = page.locator(".done")
        expect(done).to_have_text("Promoted: version 2 is served.")
        expect(done).to_be_focused()  # and not the top of the page: the button is gone

        expect(page.get_by_role("heading", name="Model 2", exact=True)).to_be_visible()
        page.keyboard.press("Shift+Tab")
        expect(page.get_by_role("button", name="Roll back")).to_be_focused()
        page.keyboard.press("Enter")
        tab_to(page, "dialog .main")
        page.keyboard.press("Enter")
        expect(done).to_have_text("Rolled back: version 1 is served.")
        expect(done).to_be_focused()
    assert get(own_url, "model")["version"] == "1"


def test_the_threshold_is_moved_along_the_curve(browser: Browser, url: str) -> None:
    rows = get(url, "model/evaluation")["evaluation"]["thresholds"]
    place = [row["threshold"] for row in rows].index(0.5)
    with open_page(browser, url) as page:
        go_to_view(page, "model")
        expect(page.locator(".threshold canvas")).to_be_visible()
        contacted = page.locator(".threshold .figure").first
        tab_to(page, SLIDER)
        for key, row in (("ArrowLeft", rows[place - 1]), ("End", rows[-1]), ("Home", rows[0])):
            page.keyboard.press(key)
            expect(contacted).to_contain_text(f"{row['contacted']:,} of")
        tab_to(page, ".threshold .legend .second")
        page.keyboard.press("Enter")
        expect(page.locator(SLIDER)).to_be_focused()  # the button has gone away
        expect(contacted).to_contain_text(f"{rows[place]['contacted']:,} of")
        tab_to(page, ".threshold .legend button")
        page.keyboard.press("Enter")
        expect(page.locator(SLIDER)).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("button", name="As served")).to_be_visible()
        tab_to(page, ".costs input")
        page.keyboard.press("Control+A")
        page.keyboard.type("0")
        expect(page.get_by_text("Most profitable on these customers")).to_contain_text("0 per customer")


def test_report_and_card_are_read_and_downloaded(browser: Browser, url: str) -> None:
    with open_page(browser, url) as page:
        go_to_view(page, "model")
        expect(page.locator("#threshold")).to_be_visible()
        for number, name in ((0, "report.html"), (1, "model_card.md")):
            tab_to(page, f"details:nth-of-type({number + 1}) summary")
            page.keyboard.press("Enter")
            expect(page.locator("details").nth(number).get_by_role("button", name="Download")).to_be_visible()
            with page.expect_download() as caught:
                page.keyboard.press("Tab")
                page.keyboard.press("Enter")
            assert caught.value.suggested_filename == name
            if name == "report.html":
                expect(page.frame_locator("iframe").get_by_role("heading").first).to_be_visible()
                link = page.frame_locator("iframe").locator("a").first
                while not link.evaluate("(it) => it.matches(':focus-visible')"):
                    page.keyboard.press("Tab")
                    assert page.evaluate("document.activeElement.tagName") in {"IFRAME", "BODY"}
                page.keyboard.press("PageDown")
                wait_until(lambda: page.frames[1].evaluate("scrollY > 0"), "the report to scroll")
                page.keyboard.press("Shift+Tab")
                expect(page.get_by_role("button", name="Download")).to_be_focused()
        tab_to(page, ".markdown .table")
        expect(page.locator(".markdown")).to_contain_text("Intended use")


def test_now_is_paused_and_the_bins_of_a_field_are_read(browser: Browser, url: str) -> None:
    customers = draw_customers(50).to_csv(index=False).encode()
    with open_page(browser, url) as page:
        page.request.post(f"{url}/predict", data=customers, headers={"Content-Type": "text/csv"})
        go_to_view(page, "now")
        expect(page.locator("table.drift tr").first).to_be_visible()
        tab_to(page, ".view-head button")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Go on")).to_be_focused()
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Pause")).to_be_focused()
        tab_to(page, "table.drift .reason")
        name = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        bins = page.get_by_role("group", name=f"Bins of {name}")
        expect(bins).to_be_visible()
        tab_to(page, ".bins")
        expect(bins).to_be_focused()
        page.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        expect(bins).to_have_count(0)


def test_another_field_does_not_come_under_the_key(browser: Browser, url: str) -> None:
    """The largest shift is listed first, but not while a row has the focus."""
    with open_page(browser, url, "#now") as page:
        rows = page.locator("table.drift tr")
        expect(rows.first).to_be_visible()
        tab_to(page, "table.drift .reason")
        names = page.locator("table.drift .reason").all_inner_texts()
        focused = page.evaluate("document.activeElement.textContent")
        shown = page.locator("section[aria-labelledby=drift] .aside").inner_text()
        shifted = draw_customers(3_000).assign(EstimatedSalary=1.0, Tenure=10, CreditScore=850)
        body = shifted.to_csv(index=False).encode()
        page.request.post(f"{url}/predict", data=body, headers={"Content-Type": "text/csv"})
        expect(page.locator("section[aria-labelledby=drift] .aside")).not_to_have_text(shown)
        assert page.locator("table.drift .reason").all_inner_texts() == names
        assert page.evaluate("document.activeElement.textContent") == focused
        page.locator("body").click(position={"x": 2, "y": 2})
        wait_until(lambda: page.locator("table.drift .reason").all_inner_texts() != names, "the new order")
