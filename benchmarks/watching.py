"""Run Prometheus with the included rules, and send customers to a service; for the drift example and its tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servers import find_free_port

from training.simulate import PUBLIC, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from training.simulate import Population

SHIPPED = Path(__file__).parents[1] / "deploy" / "prometheus"
START_SECONDS = 60
PAUSE_SECONDS = 0.1
BATCH, SINGLES = 100, 5
"""Number of customers in a batch, and number of single requests, after each pause."""


class Watcher:
    """Client for a running Prometheus.

    Parameters
    ----------
    port : int
    """

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Return whether Prometheus responds."""
        try:
            with urllib.request.urlopen(f"{self._address}/-/ready", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == http.client.OK)
        except OSError:
            return False

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Run an instant query; return its series, each with ``metric`` and ``value``."""
        return self._get("query", {"query": query})

    def ask_range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Run a range query, with times in seconds since the epoch; its series have ``metric`` and ``values``."""
        return self._get("query_range", {"query": query, "start": start, "end": end, "step": step})

    def _get(self, what: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        address = f"{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310  our own Prometheus
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


def shorten(rules: str, windows: Mapping[str, str], patience: str) -> str:
    """Return the rules with shorter ranges, evaluated every second; names are unchanged.

    Parameters
    ----------
    rules : str
    windows : mapping of str to str
        Replacements of ranges, such as ``{"1h": "60s"}``.
    patience : str
        Time that drift must last before its alert fires; other alerts are unchanged.
    """
    text = re.sub(r"\[(\w+)\]", lambda found: f"[{windows.get(found[1], found[1])}]", rules)
    text = re.sub(r"interval: \w+", "interval: 1s", text)
    head, mark, drift = text.partition("- name: churn-drift-alerts")
    return head + mark + re.sub(r"for: \w+", f"for: {patience}", drift)


@contextlib.contextmanager
def watch(port: int, folder: Path, windows: Mapping[str, str], patience: str) -> Iterator[Watcher]:
    """Run Prometheus with the included configuration for a local service, scraped every second.

    Parameters
    ----------
    port : int
        Port of the service.
        folder : Path
            Empty folder for configuration, rules and data.
    windows, patience
        See `shorten`.
    """
    (folder / "rules").mkdir()
    for path in (SHIPPED / "rules").glob("*.yml"):
        text = shorten(path.read_text(encoding="utf-8"), windows, patience)
        (folder / "rules" / path.name).write_text(text, encoding="utf-8")
    own = find_free_port()
    configuration = (SHIPPED / "prometheus.yml").read_text(encoding="utf-8").replace("interval: 15s", "interval: 1s")
    configuration = configuration.replace("churn:8000", f"127.0.0.1:{port}").replace(":9090", f":{own}")
    # The service has no keys and ignores this one, but without the file Prometheus does not scrape.
    (folder / "key").write_text("none", encoding="utf-8")
    configuration = configuration.replace("/run/churn/prometheus.key", str(folder / "key"))
    (folder / "prometheus.yml").write_text(configuration, encoding="utf-8")
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{own}", "--query.lookback-delta=10s"]  # fmt: skip
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,  # noqa: S603  our own command
    ):
        try:
            watcher, end = Watcher(own), time.monotonic() + START_SECONDS
            while not watcher.is_ready():
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Prometheus did not start: {(folder / 'log').read_text(errors='replace')}")
                time.sleep(0.1)
            yield watcher
        finally:
            process.terminate()
            process.wait(20)


@dataclass(slots=True)
class Traffic:
    """Sends customers of a population on a thread until the block ends; the population may be changed meanwhile.

    Attributes
    ----------
    port : int
        Port of the service.
        population : Population
    requests, mistakes : int
        Requests with status 200, and with another status.
    """

    port: int
    population: Population = PUBLIC
    requests: int = 0
    mistakes: int = 0

    @contextlib.contextmanager
    def flow(self) -> Iterator[Traffic]:
        """Send customers until the block ends."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._send, args=(is_over,))
        thread.start()
        try:
            yield self
        finally:
            is_over.set()
            thread.join()

    def _send(self, is_over: threading.Event) -> None:
        seed = 0
        while not is_over.is_set():
            seed += 1
            population = self.population
            customers = draw(50 * (BATCH + SINGLES), seed, population)
            while customers and population is self.population and not is_over.wait(PAUSE_SECONDS):
                batch, customers = customers[:BATCH], customers[BATCH:]
                singles, customers = customers[:SINGLES], customers[SINGLES:]
                self._post({"customers": batch})
                for customer in singles:
                    self._post(customer)

    def _post(self, body: object) -> None:
        # A new connection each time, so that every worker gets requests.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/predict", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status == http.client.OK:
            self.requests += 1
        else:
            self.mistakes += 1


def draw(rows: int, seed: int, population: Population = PUBLIC) -> list[dict[str, Any]]:
    """Draw customers in the form of requests."""
    columns = simulate(rows, seed, population=population)
    for name in ("RowNumber", "CustomerId", "Surname", "Exited"):
        del columns[name]
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
