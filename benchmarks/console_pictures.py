"""Draw the pictures of docs/console.md, for ``python benchmarks/console.py --pictures``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry
from training.simulate import write_simulated

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from churn.schema import Schema

LEAVER = (
    "#customer?CreditScore=619&Geography=Germany&Gender=Female&Age=52&Tenure=2&Balance=125510.82&NumOfProducts=1"
    "&HasCrCard=0&IsActiveMember=0&EstimatedSalary=101348.88"
)
"""Opens a customer who is predicted to leave."""

VIEWS = ("customer", "file", "model", "now", "records")
LOOKS = ((1440, "light"), (768, "dark"), (390, "light"))


def draw_pictures(browser: Browser, url: str, folder: Path, models: Path) -> None:
    """Draw each view at each width, with a palette of 128 colours so that the files are small."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "customers.csv"
    write_simulated(table, 20_000, 0)
    schema = read_bundle(Registry(models).current_folder()).manifest.schema
    context = browser.new_context()
    for customer in draw_customers(schema, 5):
        context.request.post(f"{url}/predict?reasons=4", data={"CustomerId": "15634602", **customer})
    context.close()
    for width, scheme in LOOKS:
        for view in VIEWS:
            context = browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            page = context.new_page()
            page.goto(f"{url}/{LEAVER if view == 'customer' else f'#{view}'}")
            show(page, view, table, schema)
            path = folder / f"{view}-{width}-{scheme}.png"
            page.screenshot(path=path, full_page=view == "customer" or width < 1000)
            Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
            print(path, path.stat().st_size)
            context.close()
    table.unlink()


def show(page: Page, view: str, table: Path, schema: Schema) -> None:
    """Wait until a view shows what its picture is of."""
    if view == "customer":
        page.wait_for_selector(".changes li")
        page.wait_for_selector(".curve canvas")
    elif view == "file":
        page.locator("input[type=file]").set_input_files(table)
        page.get_by_text("done in").wait_for()
    elif view == "model":
        page.wait_for_selector(".threshold canvas")
    elif view == "records":
        page.locator(".search input[name=text]").fill("15634602")
        page.get_by_role("button", name="Find").click()
        page.locator("summary").first.click()
        page.get_by_role("button", name="Score again and compare").click()
        page.wait_for_selector(".replay")
    else:
        for customer in draw_customers(schema, 150):
            page.request.post(page.url.partition("#")[0] + "predict", data=customer)
            page.wait_for_timeout(100)
    page.wait_for_timeout(500)
