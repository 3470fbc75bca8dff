"""A file on the page: dropped, scored in pieces, and taken home; the same as when a script sends it whole."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from bank import draw_customers
from browsing import LOOKS, find_barriers, find_overflow, open_page
from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ODD = (
    "# exported on Monday\r\n\n"
    "CustomerId;Surname;CreditScore;Geography;Gender;Age;Tenure;Balance;NumOfProducts;HasCrCard;IsActiveMember;"
    "EstimatedSalary\r\n"
    '1;"Har;gr""ave\r\nthe younger";619;France;Female;42;2;0;1;1;1;101348,88\n'
    "2;Hill;608;Spain;Female;41;1;83807,86;1;0;yes;112542,58\r"
    "\n  \t\n"
    '3;5" pipe;608;Spain;Female;forty;1;1.083.807,86;1;0;no;112542,58\n'
    "4;Boni;699;Italy\n"
    '5;"never closed;699;Spain;Female;39;1;0;2;0;0;93826,63\n'
    '"6,7";"";699;Spain;Male;39;1;0;2;0;0;93826,63\r\n'
    "7;Chu;645;Spain;Male;44;8;;2;1;0;149756,71"
)
"""Comments, blank lines, all line breaks, quotes of all kinds, decimal commas, and rows that can't be scored."""


def ask_whole(url: str, content: bytes, query: str) -> tuple[int, str]:
    request = Request(f"{url}/predict{query}", content, {"Content-Type": "text/csv"})  # noqa: S310  the test's service
    try:
        with urlopen(request) as response:  # noqa: S310
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def choose(page: Page, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator(".progress")).to_contain_text("done in")


def save(page: Page, button: str, folder: Path) -> list[list[str]]:
    with page.expect_download() as caught:
        page.get_by_role("button", name=button).click()
    caught.value.save_as(folder / caught.value.suggested_filename)
    return list(csv.reader(io.StringIO((folder / caught.value.suggested_filename).read_text())))


def compare_with_whole(browser: Browser, url: str, path: Path) -> None:
    """Require the scores, rejects, lines and reasons of one request with the whole file."""
    content = path.read_bytes()
    _, whole = ask_whole(url, content, "?on_error=reject")
    header, *rows = csv.reader(io.StringIO(whole))
    with open_page(browser, url, "#file") as page:
        choose(page, path)
        scores = save(page, "Download scores", path.parent)
        assert scores == [header[:-1], *(row[:-1] for row in rows if not row[-1])]
        rejected = [row for row in rows if row[-1]]
        if not rejected:
            expect(page.get_by_role("button", name="Download rejects")).to_have_count(0)
            return
        rejects = save(page, "Download rejects", path.parent)
    status, refused = ask_whole(url, content, "")
    assert status == 422
    faults: list[dict[str, Any]] = json.loads(refused)["errors"]
    lines = list(dict.fromkeys(fault["line"] for fault in faults))
    assert [int(row[0]) for row in rejects[1:]][: len(lines)] == lines
    assert [row[-1] for row in rejects[1:]] == [row[-1] for row in rejected]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_odd_file_is_read_as_the_service_reads_it(browser: Browser, url: str, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(ODD.encode(encoding))
    compare_with_whole(browser, url, path)


def test_a_file_of_several_pieces_is_scored_as_a_whole(browser: Browser, url: str, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    table = draw_customers(12_000).astype({"Age": object, "Surname": object})
    table.loc[9_000, "Age"] = "?"
    table.loc[11_000:11_003, "Geography"] = "Italy"
    table.loc[::500, "Surname"] = 'of two\nlines, and a "name"'
    table.to_csv(path, index=False)
    assert path.stat().st_size > 3 * 256 * 1024
    compare_with_whole(browser, url, path)


def test_rows_without_an_identifier_are_counted_through_all_pieces(browser: Browser, url: str, tmp_path: Path) -> None:
    path = tmp_path / "nameless.csv"
    draw_customers(9_000).drop(columns="CustomerId").to_csv(path, index=False)
    compare_with_whole(browser, url, path)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_result_is_shown_at_each_width(browser: Browser, url: str, tmp_path: Path, width: int, scheme: str) -> None:
    path = tmp_path / "some.csv"
    table = draw_customers(300).astype({"Age": object})
    table.loc[7, "Age"] = "?"
    table.to_csv(path, index=False)
    _, whole = ask_whole(url, path.read_bytes(), "?on_error=reject")
    rows = list(csv.DictReader(io.StringIO(whole)))
    with open_page(browser, url, "#file", width=width, scheme=scheme) as page:
        expect(page.get_by_role("heading", name="Score a file")).to_be_visible()
        assert find_barriers(page) == []
        choose(page, path)
        expect(page.locator(".figure")).to_contain_text(
            ["Scored299", f"Above 50%{sum(row['churn'] == 'true' for row in rows)}", "Rejected1"]
        )
        shares = page.get_by_role("img", name="Shares of the customers of the file by probability. 0% to 5%")
        expect(shares).to_be_visible()
        top = max(rows, key=lambda row: float(row["probability"] or 0))
        expect(page.get_by_role("group", name="Most likely to leave").locator("tbody tr").first).to_contain_text(
            top["CustomerId"]
        )
        expect(page.get_by_role("group", name="Rejected rows: 1").locator("tbody tr").first).to_contain_text(
            "Age is not a number: sent '?'"
        )
        assert find_overflow(page) == []
        assert find_barriers(page) == []


def test_a_dropped_file_is_scored(browser: Browser, url: str) -> None:
    with open_page(browser, url, "#file") as page:
        page.get_by_role("heading", name="Score a file").wait_for()
        page.evaluate(
            """(text) => {
              const data = new DataTransfer();
              data.items.add(new File([text], 'dropped.csv'));
              for (const type of ['dragover', 'drop'])
                document.querySelector('.drop').dispatchEvent(
                  new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
            }""",
            draw_customers(20).to_csv(index=False),
        )
        expect(page.get_by_role("heading", name="dropped.csv")).to_be_visible()
        expect(page.locator(".figure").first).to_contain_text("Scored20")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "It is empty, without a header."),
        ("a,b\n1,2\n", "CreditScore is missing from the columns"),
        ("\x00\x01\x02", "UTF-16 without a byte-order mark, or no text"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_words(
    browser: Browser, url: str, tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(content)
    with open_page(browser, url, "#file") as page:
        page.locator("input[type=file]").set_input_files(path)
        expect(page.get_by_role("alert")).to_contain_text(words)


def test_scoring_can_be_stopped_and_the_decimal_mark_chosen(browser: Browser, url: str, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    draw_customers(30_000).to_csv(path, index=False)
    with open_page(browser, url, "#file") as page:
        # Each piece waits, so that the file can be stopped on a machine of any speed.
        page.evaluate(
            """() => {
              const fetched = window.fetch;
              window.fetch = async (...given) => {
                await new Promise((go) => setTimeout(go, 500));
                return fetched(...given);
              };
            }"""
        )
        page.locator("input[type=file]").set_input_files(path)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".progress")).to_contain_text("stopped after")
        expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    path.write_text(ODD.replace("0;1;1;1;101348,88", "0;1;1;1;101.348"))
    with open_page(browser, url, "#file") as page:
        page.get_by_label("Decimal separator").select_option("point")
        choose(page, path)
        expect(page.get_by_role("region", name="First rows").first).to_contain_text("decimal point")
        expect(page.get_by_role("region", name="Rejected rows").first).to_be_visible()


def test_a_file_is_scored_with_the_keyboard_alone(browser: Browser, url: str, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    draw_customers(20).to_csv(path, index=False)
    with open_page(browser, url) as page:
        page.get_by_role("link", name="File").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Score a file")).to_be_visible()
        field = page.locator("input[type=file]")
        for _ in range(10):
            page.keyboard.press("Tab")
            if field.evaluate("(field) => field === document.activeElement"):
                break
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Space")
        chooser.value.set_files(path)
        expect(page.locator(".progress")).to_contain_text("done in")
        for _ in range(10):
            page.keyboard.press("Tab")
            if page.get_by_role("button", name="Download scores").evaluate("(it) => it === document.activeElement"):
                break
        with page.expect_download():
            page.keyboard.press("Enter")
