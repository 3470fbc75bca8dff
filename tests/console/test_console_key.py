"""A service with keys: the page asks for one, keeps it for its tab only, and shows what the key may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browsing import LOOKS, find_barriers, find_overflow, open_page, read_probability
from keyed import add_key
from playwright.sync_api import expect
from service_process import ServiceProcess
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

# In one turn of the page: a request that it still had to send would otherwise be refused, and take the form away,
# before the test has typed.
END_KEY_AND_TYPE = """(input) => {
    sessionStorage.setItem("churn-key", "churn_revoked");
    input.value = "50";
    input.dispatchEvent(new Event("input", { bubbles: true }));
}"""


class Keyed:
    def __init__(self, service: ServiceProcess, keys: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{service.port}"
        self.keys = keys


@pytest.fixture(scope="module")
def keyed(console_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    path = folder / "keys.json"
    keys = {"teller": add_key(path, "teller", ["predict"]), "chief": add_key(path, "chief")}
    service = ServiceProcess(
        console_models, folder, 1, {"CHURN_ADMIN": "true", "CHURN_API_KEYS": str(path), "CHURN_METRICS": "true"}
    )
    try:
        service.wait_for_log("serving model")
        wait_until(service.is_ready, "readiness")
        yield Keyed(service, keys)
    finally:
        service.kill()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_page_asks_for_a_key(browser: Browser, keyed: Keyed, width: int, scheme: str) -> None:
    with open_page(browser, keyed.url, width=width, scheme=scheme) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(page.get_by_role("heading", name="This service needs a key")).to_be_visible()
        expect(page.get_by_label("Key", exact=True)).to_be_focused()
        assert not [url for url in asked if url.endswith("/model")]  # which would be refused, and noted
        assert find_barriers(page) == []
        assert find_overflow(page) == []


def test_a_key_is_kept_for_this_tab_only(browser: Browser, keyed: Keyed) -> None:
    with open_page(browser, keyed.url) as page:
        expect(page.get_by_label("Key", exact=True)).to_be_focused()
        page.keyboard.type("churn_wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("key")
        page.get_by_label("Key", exact=True).fill(keyed.keys["teller"])
        page.keyboard.press("Enter")
        read_probability(page)
        page.reload()
        read_probability(page)
        assert page.evaluate("Object.values(sessionStorage)") == [keyed.keys["teller"]]
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.get_by_role("button", name="curl").click()
        expect(page.locator(".copy", has_text="curl").get_by_role("status")).to_have_text("copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert "$CHURN_KEY" in copied
        assert keyed.keys["teller"] not in copied + page.url
        page.get_by_role("button", name="Forget the key").click()
        expect(page.get_by_role("heading", name="This service needs a key")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


def test_a_key_that_ends_is_asked_for_again(browser: Browser, keyed: Keyed) -> None:
    with open_page(browser, keyed.url, key=keyed.keys["chief"]) as page:
        read_probability(page)
        page.locator("[data-field=Age] input").first.evaluate(END_KEY_AND_TYPE)
        expect(page.get_by_role("heading", name="This service needs a key")).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("does not accept the key")
