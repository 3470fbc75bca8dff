"""The served model on the page: its numbers, report and card, and the change to another version."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from browsing import LOOKS, find_barriers, find_overflow, open_page
from playwright.sync_api import expect
from service_process import running_service

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


def get(url: str, path: str) -> Any:
    with urlopen(f"{url}/{path}") as response:  # noqa: S310  the service of the test
        return json.load(response)


def open_details(page: Page, name: str) -> None:
    expect(page.locator("#scores")).to_be_visible()  # which moves what is below it, perhaps under the mouse
    page.locator("summary", has_text=name).click()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_model_is_shown_at_each_width(browser: Browser, url: str, width: int, scheme: str) -> None:
    evaluation = get(url, "model/evaluation")["evaluation"]
    with open_page(browser, url, "#model", width=width, scheme=scheme) as page:
        expect(page.get_by_role("heading", name="Model 1", exact=True)).to_be_visible()
        row = page.locator("tr", has_text="ROC AUC")
        score = evaluation["scores"]["roc_auc"]
        expect(row).to_contain_text(f"{score['value']:.3f}{score['low']:.3f} to {score['high']:.3f}")
        expect(page.locator(".threshold canvas")).to_be_visible()
        open_details(page, "Model card")
        expect(page.locator(".markdown")).to_contain_text("Intended use")
        assert find_overflow(page) == []
        assert find_barriers(page) == []


def test_the_threshold_is_moved_by_hand_and_saved_nowhere(browser: Browser, url: str) -> None:
    evaluation = get(url, "model/evaluation")["evaluation"]
    rows = evaluation["thresholds"]
    with open_page(browser, url, "#model") as page:
        slider = page.get_by_label("Threshold 50%")
        slider.focus()
        page.keyboard.press("Home")
        expect(page.locator(".threshold .figure").first).to_contain_text("100.0%")
        page.get_by_role("button", name="Show it").click()
        profits = [profit_of(row, evaluation["customers"], evaluation["costs"]) for row in rows]
        best = profits.index(max(profits))
        expect(page.locator(".threshold .figure").last).to_contain_text(f"{profits[best]:.2f}"[:4])
        contacted = rows[best]["contacted"]
        expect(page.locator(".threshold .figure").first).to_contain_text(f"{contacted} of {evaluation['customers']:,}")
        page.get_by_label("Cost of a contact").fill("1000")
        expect(page.get_by_text(re.compile("Most profitable on these customers: .*, 0 per customer"))).to_be_visible()
    assert get(url, "model")["threshold"] == 0.5


def profit_of(row: dict[str, Any], customers: int, costs: dict[str, float]) -> float:
    left = costs["accept_rate"] * (costs["customer_value"] - costs["offer_cost"]) - costs["contact_cost"]
    stayed = -costs["offer_cost"] - costs["contact_cost"]
    return float((row["leavers"] * left + (row["contacted"] - row["leavers"]) * stayed) / customers)


def test_the_report_is_shown_in_a_frame_that_can_do_nothing(browser: Browser, url: str) -> None:
    with open_page(browser, url, "#model") as page:
        open_details(page, "Report")
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("heading", name="Churn model, version 1")).to_be_visible()
        assert frame.locator("body").evaluate("getComputedStyle(document.body).fontVariantNumeric") == "tabular-nums"
        assert frame.locator("body").evaluate("document.querySelectorAll('[data-style]').length > 100")
        assert page.frames[1].evaluate("origin") == "null"
        with page.expect_download() as caught:
            page.get_by_role("button", name="Download").first.click()
        assert caught.value.suggested_filename == "report.html"


def test_what_a_report_should_not_have_does_nothing(browser: Browser, url: str) -> None:
    hostile = (
        "<!doctype html><title>x</title><style>h1 { color: red }</style><h1 style='font-size: 40px' onclick='alert(1)'>"
        "Hi</h1><script>parent.postMessage('stolen', '*'); alert(1)</script><img src=x onerror='alert(1)'>"
        "<a href='javascript:alert(1)'>link</a><iframe src='http://example.com'></iframe>"
    )
    with open_page(browser, url, blocked="inline event handler violates") as page:
        page.route("**/model/report", lambda route: route.fulfill(body=hostile, content_type="text/html"))
        page.get_by_role("link", name="Model").click()
        open_details(page, "Report")
        heading = page.frame_locator("iframe").get_by_role("heading", name="Hi")
        expect(heading).to_have_css("font-size", "40px")
        expect(heading).to_have_css("color", "rgb(255, 0, 0)")
        assert page.frames[1].evaluate("document.querySelector('h1').click()") is None
        assert page.frames[1].locator("body script, [href], iframe").count() == 0


def test_a_version_is_promoted_and_rolled_back_after_a_question(browser: Browser, own_url: str) -> None:
    with open_page(browser, own_url, "#model") as page:
        promote = page.get_by_role("button", name="Promote version 2")
        promote.click()
        question = page.get_by_role("dialog", name="Serve version 2?")
        expect(question).to_contain_text("instead of version 1")
        assert find_barriers(page) == []
        page.keyboard.press("Escape")
        expect(question).to_have_count(0)
        expect(promote).to_be_focused()
        assert get(own_url, "model")["version"] == "1"
        page.keyboard.press("Enter")
        question.get_by_role("button", name="Serve version 2").click()
        expect(page.get_by_role("heading", name="Model 2", exact=True)).to_be_visible()
        expect(page.locator(".done")).to_have_text("Promoted: version 2 is served.")
        expect(page.locator("#scores")).to_be_visible()
        expect(page.locator("#threshold")).to_have_count(0)  # the tiny model has no evaluation
        page.get_by_role("link", name="Customer").click()
        expect(page.locator(".served")).to_have_text("model 2")
        expect(page.get_by_test_id("probability")).to_be_visible()
        page.get_by_role("link", name="Model").click()
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(page.get_by_role("heading", name="Model 1", exact=True)).to_be_visible()
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(page.get_by_role("alert")).to_contain_text("no version was current before")
    assert get(own_url, "model")["version"] == "1"


def test_the_customer_is_scored_by_the_model_that_is_served_meanwhile(browser: Browser, own_url: str) -> None:
    with open_page(browser, own_url) as page:
        expect(page.locator(".served")).to_have_text("model 1")
        with urlopen(f"{own_url}/admin/models/2/promote", data=b"") as response:  # noqa: S310
            assert response.status == 200
        page.locator("[data-field=Age] input").first.fill("55")
        expect(page.locator(".served")).to_have_text("model 2")
        expect(page.locator("[data-field=Age] input").first).to_have_value("55")
        expect(page.get_by_text(re.compile("Would (stay|leave) if"))).to_have_count(0)  # nothing is marked in version 2


def test_who_may_not_change_versions_sees_nothing_of_it(browser: Browser, console_models: Path, tmp_path: Path) -> None:
    with (
        running_service(console_models, tmp_path) as service,
        open_page(browser, f"http://127.0.0.1:{service.port}", "#model") as page,
    ):
        expect(page.locator("#threshold")).to_be_visible()
        expect(page.get_by_role("heading", name="Versions")).to_have_count(0)
