"""Measure the page in Chromium: its weight, how soon it is there, typing, a dragged slider, and a large file.

``python benchmarks/console.py``; ``--rows 0`` leaves the file out; ``--pictures docs/console`` draws the pictures of
docs/console.md. Needs Debian's package chromium. One service and one browser share the machine.

Times of a load are milliseconds after the start of the navigation, with a CPU that Chromium slows down four times;
interactive is when the form can be filled and a score is shown. From an empty tab, they contain the start of a process
of the browser: compare them with those of an answer without any page, which take turns with them. The CPU time of the
main thread until the score is shown is of loads that are not slowed down, and depends least on what else the machine
does. Typing is the time from the event of a keystroke until the score on the page has changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from console_pictures import LEAVER, draw_pictures
from playwright.sync_api import sync_playwright
from servers import Running, launch, ours
from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry
from training.simulate import write_simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, CDPSession, Page

MODELS = Path("models")
THROTTLE = 4
SHOWN = "[data-testid=probability]"

WATCH = """
  window.marks = {};
  window.scored = new Promise((done) => {
    const watch = new MutationObserver(() => {
      if (document.querySelector('.field .slider')) window.marks.form ??= performance.now();
      if (!document.querySelector('[data-testid=probability]')) return;
      window.marks.score = performance.now();
      watch.disconnect();
      done();
    });
    watch.observe(document, {childList: true, subtree: true});
  });
"""

PAINTED = """(async () => {
  const find = () => performance.getEntriesByName('first-contentful-paint')[0];
  while (!find()) await new Promise((go) => setTimeout(go, 20));
  return find().startTime;
})()"""

TYPE = """async (keys) => {
  const field = document.querySelector('[data-field=Age] input');
  const shown = document.querySelector('[data-testid=probability]');
  const times = [];
  for (let key = 0; key < keys; key++) {
    await new Promise((go) => setTimeout(go, 400));
    const changed = new Promise((done) => {
      const watch = new MutationObserver(() => { watch.disconnect(); done(performance.now()); });
      watch.observe(shown, {attributes: true, attributeFilter: ['title']});
    });
    const start = performance.now();
    field.value = 30 + key % 30;
    field.dispatchEvent(new Event('input', {bubbles: true}));
    times.push(await changed - start);
  }
  return times;
}"""

DRAG = """async (seconds) => {
  const slider = document.querySelector('[data-field=Age] .slider');
  const shown = document.querySelector('[data-testid=probability]');
  const fetched = window.fetch;
  const asked = new Map();
  let number = 0;
  window.fetch = async (target, options) => {
    const mine = ++number;
    const answer = await fetched(target, options);
    if (new URL(target).pathname.endsWith('/predict') && !new URL(target).search) {
      const copy = await answer.clone().json();
      asked.set(String(copy.probability), mine);
    }
    return answer;
  };
  const order = [];
  const watch = new MutationObserver(() => order.push(asked.get(shown.title)));
  watch.observe(shown, {attributes: true, attributeFilter: ['title']});
  let gap = 0, before = performance.now(), frames = 0;
  const end = before + seconds * 1000;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gap = Math.max(gap, now - before);
    before = now;
    slider.value = 18 + (frames++ * 7) % 75;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
  }
  await new Promise((go) => setTimeout(go, 500));
  window.fetch = fetched;
  return {frames, shown: order.length, older: order.filter((each, at) => at && each < order[at - 1]).length, gap};
}"""

FRAMES = """() => {
  window.longest = 0; window.heap = 0;
  let before = performance.now();
  const step = (now) => {
    window.longest = Math.max(window.longest, now - before);
    window.heap = Math.max(window.heap, performance.memory.usedJSHeapSize);
    before = now;
    requestAnimationFrame(step);
  };
  requestAnimationFrame((now) => { before = now; requestAnimationFrame(step); });
}"""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a load begins.

    Attributes
    ----------
    name : str
    has_process : bool
        Whether the tab shows an answer of the service already, so that the browser starts no process for the page.
    """

    name: str
    has_process: bool


STARTS = (Start("from an empty tab", has_process=False), Start("from a tab of the service", has_process=True))
NO_PAGE = "/health/live"


def measure_load(browser: Browser, url: str, start: Start) -> dict[str, float]:
    """Load the page in a new context with a slow CPU; return milliseconds, and the bytes that were sent.

    Nothing is asked through Playwright's selectors before the score is there: they run a large script in the page,
    which a slow CPU compiles for longer than the page itself.
    """
    with open_window(browser, url, start) as (page, devtools):
        sizes: list[float] = []
        devtools.send("Network.enable")
        devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        page.add_init_script(WATCH)
        page.goto(url, wait_until="commit")
        evaluate(devtools, "window.scored")
        marks: dict[str, float] = evaluate(devtools, "window.marks")
        paint: float = evaluate(devtools, PAINTED)
        page.wait_for_selector(".curve canvas, .levels")
        return {"paint": paint, **marks, "bytes": sum(sizes)}


def measure_paint(browser: Browser, url: str, start: Start) -> float:
    """Return the first paint of an answer that is no page, with a slow CPU, in milliseconds."""
    with open_window(browser, url, start) as (page, devtools):
        page.goto(f"{url}{NO_PAGE}", wait_until="commit")
        paint: float = evaluate(devtools, PAINTED)
        return paint


@contextmanager
def open_window(browser: Browser, url: str, start: Start, rate: float = THROTTLE) -> Iterator[tuple[Page, CDPSession]]:
    """Open a window whose CPU is `rate` times as slow."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    if start.has_process:
        page.goto(f"{url}{NO_PAGE}")
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": rate})
    yield page, devtools
    context.close()


def evaluate(devtools: CDPSession, expression: str) -> Any:  # noqa: ANN401  what the expression gives
    """Evaluate in the page, and wait for a promise."""
    given = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    return devtools.send("Runtime.evaluate", given)["result"].get("value")


def measure_used(browser: Browser, url: str, start: Start) -> float:
    """Return the CPU time of the main thread until the score is shown, in milliseconds, with a CPU as it is."""
    with open_window(browser, url, start, 1) as (page, devtools):
        page.add_init_script(WATCH)
        before = read_used(devtools)
        page.goto(url, wait_until="commit")
        evaluate(devtools, "window.scored")
        return read_used(devtools) - before


def read_used(devtools: CDPSession) -> float:
    """Return the CPU time that tasks of the main thread have taken, in milliseconds."""
    metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(metrics["TaskDuration"])


MEASURES = (
    ("paint", "first paint"), ("form", "form"), ("score", "interactive"),
    ("used", "CPU time of the main thread"), ("bytes", "bytes"),
)  # fmt: skip


def measure_loads(browser: Browser, urls: list[str], number: int) -> None:
    """Print how soon the page of each service is there; they take turns, since a machine is rarely quiet."""
    for start in STARTS:
        floor: list[float] = []
        loads: dict[str, list[dict[str, float]]] = {url: [] for url in urls}
        for _ in range(number):
            floor.append(measure_paint(browser, urls[0], start))
            for url in urls:
                loads[url].append(measure_load(browser, url, start) | {"used": measure_used(browser, url, start)})
        print(f"{start.name}: first paint without a page: {spread(floor)}")
        for url, found in loads.items():
            for name, words in MEASURES:
                print(f"  {url} {words}: {spread([load[name] for load in found])}")


def spread(values: list[float]) -> str:
    """Return the median with the ends."""
    return f"median {statistics.median(values):,.0f}, {min(values):,.0f} to {max(values):,.0f}"


def measure_typing(page: Page, keys: int, seconds: float) -> None:
    """Print how long typed values take, and what a dragged slider shows."""
    page.wait_for_selector(SHOWN)
    times = sorted(page.evaluate(TYPE, keys))
    print(f"typing, {keys} keystrokes: median {statistics.median(times):.1f} ms, longest {times[-1]:.1f} ms")
    found: dict[str, Any] = page.evaluate(DRAG, seconds)
    print(
        f"slider dragged for {seconds:g} s: {found['frames']} positions, {found['shown']} scores shown, "
        f"{found['older']} older than the one before, longest gap between frames {found['gap']:.0f} ms"
    )


def measure_file(page: Page, url: str, rows: int) -> None:
    """Print how long a file takes, and whether the page remains usable."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.csv"
        write_simulated(path, rows, 0)
        page.goto(f"{url}/#file")
        page.reload()
        page.wait_for_selector("input[type=file]", state="attached")
        page.evaluate(FRAMES)
        start = time.perf_counter()
        page.locator("input[type=file]").set_input_files(path)
        page.get_by_text("done in").wait_for(timeout=600_000)
        seconds = time.perf_counter() - start
        longest, heap = page.evaluate("[window.longest, window.heap]")
        print(
            f"file of {rows:,} rows, {path.stat().st_size / 1e6:.0f} MB: {seconds:.1f} s, "
            f"{rows / seconds:,.0f} rows/s, longest gap between frames {longest:.0f} ms, "
            f"JavaScript heap at most {heap / 1e6:.0f} MB"
        )


@contextmanager
def serving(*, keep: bool) -> Iterator[Running]:
    """Serve the included model with one worker; `keep` tells whether what it says is recorded."""
    schema = read_bundle(Registry(MODELS).current_folder()).manifest.schema
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"CHURN_RECORDS": f"sqlite:///{folder}/records.db"} if keep else {}),
        launch(ours("onnx", MODELS), draw_customers(schema, 1), Path(folder) / "log") as running,
    ):
        yield running


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=11, help="times the page is loaded")
    parser.add_argument("--keys", type=int, default=50, help="keystrokes")
    parser.add_argument("--seconds", type=float, default=10, help="seconds for which the slider is dragged")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the file")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures, instead of measuring")
    parser.add_argument("--beside", action="append", default=[], help="address of another service, loaded in turn")
    chosen = parser.parse_args()
    with serving(keep=chosen.pictures is not None) as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--enable-precise-memory-info"]
        )
        url = f"http://127.0.0.1:{running.port}"
        if chosen.pictures:
            draw_pictures(browser, url, chosen.pictures, MODELS)
            return
        measure_loads(browser, [url, *chosen.beside], chosen.loads)
        page = browser.new_page()
        page.goto(f"{url}/{LEAVER}")
        measure_typing(page, chosen.keys, chosen.seconds)
        if chosen.rows:
            measure_file(page, url, chosen.rows)


if __name__ == "__main__":
    main()
