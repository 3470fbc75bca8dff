"""One customer on the page: typed, slid, explained, changed, linked and copied."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from browsing import LOOKS, find_barriers, find_overflow, open_page, read_probability, tab_to
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

LEAVER = {
    "CreditScore": 619, "Geography": "Germany", "Gender": "Female", "Age": 52, "Tenure": 2, "Balance": 125510.82,
    "NumOfProducts": 1, "HasCrCard": 0, "IsActiveMember": 0, "EstimatedSalary": 101348.88,
}  # fmt: skip
LINK = "#customer?" + "&".join(f"{name}={value}" for name, value in LEAVER.items())

pytestmark = pytest.mark.slow


def post(url: str, path: str, customer: dict[str, Any]) -> Any:
    request = Request(f"{url}/{path}", json.dumps(customer).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request) as response:  # noqa: S310  the service of the test
        return json.load(response)


def show_decision(page: Page, words: str) -> None:
    expect(page.locator(".sentence strong")).to_have_text(words)


def wait_for_probability(page: Page, value: float) -> None:
    expect(page.get_by_test_id("probability")).to_have_attribute("title", re.compile(f"^{re.escape(str(value))}$"))


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_customer_is_shown_whole_at_each_width(browser: Browser, url: str, width: int, scheme: str) -> None:
    with open_page(browser, url, LINK, width=width, scheme=scheme) as page:
        show_decision(page, "Predicted to leave")
        expect(page.get_by_role("heading", name="Why")).to_be_visible()
        expect(page.locator(".changes ol > li").first).to_be_visible()
        expect(page.locator(".curve canvas")).to_be_visible()
        assert read_probability(page) == post(url, "predict", LEAVER)["probability"]
        assert find_overflow(page) == []
        assert find_barriers(page) == []


def test_the_form_begins_with_a_typical_customer(browser: Browser, url: str) -> None:
    with urlopen(f"{url}/model") as response:  # noqa: S310
        features = json.load(response)["schema"]["features"]
    typical = {name: feature["example"] for name, feature in features.items()}
    with open_page(browser, url) as page:
        assert read_probability(page) == post(url, "predict", typical)["probability"]
        page.get_by_label("Credit score", exact=False).first.fill("400")
        page.get_by_role("button", name="Typical customer").click()
        expect(page.locator("[data-field=CreditScore] input").first).to_have_value(
            str(features["CreditScore"]["example"])
        )


def test_the_score_follows_what_is_typed_slid_and_chosen(browser: Browser, url: str) -> None:
    customer = LEAVER | {"Age": 30, "Geography": "Spain", "IsActiveMember": 1, "Balance": 1000.5}
    with open_page(browser, url, LINK) as page:
        page.locator("[data-field=Age] input").first.fill("30")
        page.get_by_role("radio", name="Spain").check()
        page.locator("[data-field=IsActiveMember]").get_by_role("radio", name="yes").check()
        page.locator("[data-field=Balance] input").first.fill("1000,5")
        wait_for_probability(page, post(url, "predict", customer)["probability"])
        show_decision(page, "Predicted to stay")
        page.locator("[data-field=Age] .slider").focus()
        page.keyboard.press("End")
        expect(page.locator("[data-field=Age] input").first).to_have_value("92")
        wait_for_probability(page, post(url, "predict", customer | {"Age": 92})["probability"])


def test_the_last_answer_wins_however_late_the_others_are(browser: Browser, url: str) -> None:
    with open_page(browser, url, LINK) as page:
        read_probability(page)
        # Each answer is held back, the first the longest: an older answer would come after a newer one.
        page.evaluate(
            """() => {
              const fetched = window.fetch;
              let number = 0;
              window.shown = [];
              window.fetch = async (target, options) => {
                const wait = 200 / ++number;
                const answer = await fetched(target, options);
                await new Promise((go) => setTimeout(go, wait));
                return answer;
              };
              new MutationObserver(() => window.shown.push(document.querySelector('[data-testid=probability]').title))
                .observe(document.querySelector('[data-testid=probability]'), {attributes: true});
            }"""
        )
        slider = page.locator("[data-field=Age] .slider")
        slider.evaluate(
            """async (slider) => {
              for (let age = 52; age >= 18; age--) {
                slider.value = age;
                slider.dispatchEvent(new Event('input', {bubbles: true}));
                await new Promise((go) => setTimeout(go, 15));
              }
            }"""
        )
        wait_for_probability(page, post(url, "predict", LEAVER | {"Age": 18})["probability"])
        shown = [float(each) for each in page.evaluate("window.shown")]
    order = [post(url, "predict", LEAVER | {"Age": age})["probability"] for age in range(52, 17, -1)]
    places = [order.index(value) for value in shown]
    assert len(shown) > 1
    assert places == sorted(places)


def test_the_reasons_add_up_and_choose_the_curve(browser: Browser, url: str) -> None:
    answer = post(url, "predict?reasons=all", LEAVER)
    with open_page(browser, url, LINK) as page:
        rows = page.locator(".bars tbody tr")
        expect(rows).to_have_count(8)
        page.get_by_role("button", name="All fields").click()
        expect(rows).to_have_count(len(LEAVER))
        points = [
            float(text.replace("\N{MINUS SIGN}", "-")) for text in page.locator(".bars td.points").all_inner_texts()
        ]
        assert points == [round(100 * reason["points"], 1) for reason in answer["reasons"]]
        page.locator(".bars").get_by_role("button", name="Country of the account").click()
        levels = page.locator(".levels tr")
        expect(levels).to_have_count(3)
        expect(page.locator(".levels .own")).to_contain_text("Germany")
        page.get_by_label("Field of the curve").select_option("Age")
        own = f"This customer: {100 * answer['probability']:.1f}% at 52 years"
        expect(page.get_by_role("img", name=re.compile(f"Probability along Age: from .* {own}"))).to_be_visible()


def test_a_proposed_change_can_be_tried(browser: Browser, url: str) -> None:
    first = post(url, "counterfactuals", LEAVER)["counterfactuals"][0]
    with open_page(browser, url, LINK) as page:
        expect(page.get_by_role("heading", name="Would stay if …")).to_be_visible()
        page.get_by_role("button", name="Try it").first.click()
        show_decision(page, "Predicted to stay")
        wait_for_probability(page, first["probability"])
        page.get_by_label("target").fill("20")
        expect(page.get_by_role("heading", name="At most 20% if …")).to_be_visible()


def test_what_is_not_allowed_is_said_at_its_field(browser: Browser, url: str) -> None:
    with open_page(browser, url, LINK) as page:
        age = page.locator("[data-field=Age]")
        for text, words in (("131", "is too large"), ("x", "is not a number"), ("", "is missing")):
            age.locator("input").first.fill(text)
            expect(age.locator(".fault")).to_have_text(f"{words}; allowed: a whole number from 0 to 130")
            expect(age.locator("input").first).to_have_attribute("aria-invalid", "true")
            expect(page.get_by_test_id("probability")).to_have_count(0)
        age.locator("input").first.fill("101")
        expect(page.locator(".remarks")).to_contain_text(
            "Age: 101 years is outside the range that training saw (18 years to 92 years)"
        )
        expect(age.locator(".odd")).to_be_visible()


def test_how_well_a_score_is_supported_is_said(browser: Browser, url: str) -> None:
    sentence = "Few customers of the training are like this one <b>."

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "support": {"sentence": sentence, "share": 0.05}})

    with open_page(browser, url, LINK) as page:
        said = post(url, "predict?reasons=all", LEAVER)["support"]
        assert said["share"] > 0.05
        remark = page.locator(".remarks li")
        expect(remark).to_have_text(said["sentence"])
        expect(remark).to_have_class("calm")
        page.route("**/predict?reasons=all", answer)
        page.locator("[data-field=Age] input").first.fill("44")
        expect(remark).to_have_text(sentence)
        expect(remark).not_to_have_class("calm")


def test_a_link_reopens_exactly_this_customer(browser: Browser, url: str) -> None:
    with open_page(browser, url, LINK) as page:
        page.locator("[data-field=Balance] input").first.fill("0.1")
        page.locator("[data-field=CustomerId] input").first.fill("15634602")
        wait_for_probability(page, post(url, "predict", LEAVER | {"Balance": 0.1})["probability"])
        page.get_by_role("button", name="link").click()
        link = page.evaluate("navigator.clipboard.readText()")
        assert page.url == link
    with open_page(browser, url, link.removeprefix(f"{url}/")) as page:
        wait_for_probability(page, post(url, "predict", LEAVER | {"Balance": 0.1})["probability"])
        expect(page.locator("[data-field=CustomerId] input").first).to_have_value("15634602")


def test_what_is_copied_runs_and_gives_the_same_answer(browser: Browser, url: str) -> None:
    expected = post(url, "predict?reasons=4", LEAVER)
    with open_page(browser, url, LINK) as page:
        copied = {}
        for name in ("curl", "Python", "JSON"):
            page.get_by_role("button", name=name).click()
            expect(page.locator(".copy", has_text=name).get_by_role("status")).to_have_text("copied")
            copied[name] = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied["JSON"]) == LEAVER
    run = subprocess.run([sys.executable, "-"], input=copied["Python"], capture_output=True, text=True, check=True)
    assert run.stdout == f"{expected}\n"
    run = subprocess.run(["sh"], input=copied["curl"], capture_output=True, text=True, check=True)  # noqa: S607
    assert json.loads(run.stdout) == expected


def test_all_of_it_is_done_with_the_keyboard(browser: Browser, url: str) -> None:
    with open_page(browser, url, LINK) as page:
        read_probability(page)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="To the content")).to_be_focused()
        page.keyboard.press("Enter")
        tab_to(page, "[data-field=Age] input[type=text]")
        page.keyboard.press("Control+A")
        page.keyboard.type("30")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        tab_to(page, "[data-field=IsActiveMember] input")
        page.keyboard.press("ArrowLeft")
        expected = LEAVER | {"Age": 31, "IsActiveMember": 1}
        wait_for_probability(page, post(url, "predict", expected)["probability"])
        tab_to(page, ".bars .reason")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Would leave if …")).to_be_visible()
        tab_to(page, ".changes button")
        page.keyboard.press("Enter")
        show_decision(page, "Predicted to leave")
