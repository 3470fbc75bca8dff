"""Chromium on the page, as a person uses it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

CHROMIUM = shutil.which("chromium")
WHY_NOT = "Chromium is not installed (Debian's package chromium)"
WIDTHS = (1440, 768, 390)
SCHEMES = ("light", "dark")
LOOKS = [(width, scheme) for width in WIDTHS for scheme in SCHEMES]

PATIENCE = 30_000
"""Milliseconds until a state of the page that does not come is a fault, on any machine."""

expect.set_options(timeout=PATIENCE)


@contextmanager
def open_page(
    browser: Browser,
    url: str,
    path: str = "",
    *,
    width: int = 1440,
    scheme: str = "light",
    key: str = "",
    blocked: str = "",
) -> Iterator[Page]:
    """Open the page, and require that it reports no error and asks nobody but its service.

    `blocked` is what an error says that is to be reported, since the policy has blocked something.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE)
    if key:
        context.add_init_script(f"sessionStorage.setItem('churn-key', '{key}')")
    page = context.new_page()
    faults: list[str] = []
    watch(page, url, faults)
    try:
        page.goto(f"{url}/{path}")
        yield page
        assert [fault for fault in faults if not blocked or blocked not in fault] == []
    finally:
        context.close()


def watch(page: Page, url: str, faults: list[str]) -> None:
    def note_message(message: ConsoleMessage) -> None:
        if is_fault(message.type, message.text):
            faults.append(message.text)

    def note_dialog(dialog: Dialog) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def note_request(request: Request) -> None:
        if is_foreign(request, url):
            faults.append(request.url)

    page.on("console", note_message)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", note_dialog)
    page.on("request", note_request)


def is_fault(kind: str, text: str) -> bool:
    """Whether a message of the browser is one; a refused request, which the page reports itself, is none."""
    return kind in {"error", "warning"} and not text.startswith("Failed to load resource")


def is_foreign(request: Request, url: str) -> bool:
    return not request.url.startswith((f"{url}/", f"blob:{url}/", "data:", "about:"))


def find_barriers(page: Page) -> list[str]:
    """Return what axe finds, of any severity."""
    found: dict[str, Any] = Axe().run(page).response
    return [
        f"{each['impact']} {each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def find_overflow(page: Page) -> list[str]:
    """Return the elements that reach beyond the window, or beyond the card that they are in."""
    found: list[str] = page.evaluate(
        """() => {
          const whole = document.documentElement.scrollWidth;
          const wide = whole > innerWidth ? [`page ${whole}`] : [];
          const cut = '.visually-hidden, .table, .chart, nav, pre, option, datalist, [hidden], .column, .reason';
          for (const card of document.querySelectorAll('.card')) {
            const edge = card.getBoundingClientRect().right + 1;
            if (card.scrollWidth > card.clientWidth + 1) wide.push(`${card.className} scrolls`);
            for (const part of card.querySelectorAll('*')) {
              const box = part.getBoundingClientRect();
              const isBeyond = box.width && box.right > edge && !part.closest(cut);
              if (isBeyond) wide.push(`${part.tagName} ${part.className} ${box.right} > ${edge}`);
            }
          }
          return wide;
        }"""
    )
    return found


def read_probability(page: Page) -> float:
    """Return the probability that the page shows, once it shows one."""
    shown = page.get_by_test_id("probability")
    expect(shown).to_be_visible()
    return float(shown.get_attribute("title") or "nan")


def tab_to(page: Page, selector: str) -> None:
    """Press the tab key until an element has the focus, which must be visible there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            outline = page.evaluate(
                "() => [document.activeElement, document.activeElement.nextElementSibling].filter(Boolean)"
                ".some((each) => getComputedStyle(each).outlineStyle !== 'none')"
            )
            assert outline
            return
    raise AssertionError(f"the tab key does not reach {selector}")
