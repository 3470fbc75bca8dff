"""Totals of two workers: scraped a hundred times under load they never fall, and end at what was sent."""

from __future__ import annotations

import http.client
import json
import re
import threading
from typing import TYPE_CHECKING

import pytest
from scraping import WORKERS, scrape
from waiting import DEADLINE, wait_until
from watching import draw

if TYPE_CHECKING:
    from servers import Running

SCRAPES = 100
SENDERS, REQUESTS = 4, 1500
BATCH_EVERY, BATCH = 10, 7
TOTAL = re.compile(r"_(total|count|bucket|sum)(\{|$)")
SCORED = 'churn_requests_total{method="POST",route="/predict",status="200"}'


def send(port: int, bodies: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    for number, body in enumerate(bodies):
        if number % 50 == 0:  # another connection, most likely another worker
            connection.close()
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


@pytest.mark.slow
def test_totals_never_fall_and_end_at_what_was_sent(service: Running) -> None:
    customers = draw(BATCH, 1)
    bodies = [
        json.dumps({"customers": customers} if number % BATCH_EVERY == 0 else customers[0])
        for number in range(REQUESTS)
    ]
    sent = SENDERS * REQUESTS
    people = SENDERS * sum(BATCH if number % BATCH_EVERY == 0 else 1 for number in range(REQUESTS))
    assert scrape(service.port)["churn_workers"] == WORKERS
    wait_until(lambda: scrape(service.port)[SCORED] >= 1)  # the fixture's own request may still be on its way
    before = scrape(service.port)
    threads = [threading.Thread(target=send, args=(service.port, bodies)) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    last, scrapes, rises = before, 0, 0
    while scrapes < SCRAPES or any(thread.is_alive() for thread in threads):
        found = scrape(service.port)
        fallen = {
            name: (last[name], found.get(name))
            for name in last
            if TOTAL.search(name) and found.get(name, -1) < last[name]
        }
        assert not fallen
        rises += found[SCORED] > last[SCORED]
        last, scrapes = found, scrapes + 1
    for thread in threads:
        thread.join()
    assert scrapes >= SCRAPES
    assert rises > 5
    # Single customers are counted within a tenth of a second, by whichever worker scored them.
    wait_until(lambda: scrape(service.port)["churn_score_count"] - before["churn_score_count"] >= people)
    after = scrape(service.port)
    for name, grown in (
        (SCORED, sent),
        ('churn_request_duration_seconds_count{route="/predict"}', sent),
        ('churn_request_stage_duration_seconds_count{stage="inference"}', sent),
        ("churn_batch_size_count", sent),
        ("churn_score_count", people),
    ):
        assert after[name] - before[name] == grown, name
    for family, width in (("churn_customers_total", 1), ("churn_score_bin_total", 1), ("churn_feature_bin_total", 10)):
        counted = sum(after[name] - before[name] for name in after if name.startswith(family))
        assert counted == width * people, family
