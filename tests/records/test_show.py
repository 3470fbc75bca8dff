from __future__ import annotations

from typing import TYPE_CHECKING

from record_samples import make_decision, write

from records.find import find
from records.show import describe

if TYPE_CHECKING:
    from records.store import RecordStore


def test_a_terminal_obeys_nothing_that_a_client_has_sent(store: RecordStore) -> None:
    write(store, [make_decision(customer_id="7\x1b[2J\u202e", input='{"CustomerId":\n "7\x9b2J ü"}')])
    (record,) = find(store).records
    shown = describe(record)
    assert "customer 7\\u001b[2J\\u202e: " in shown
    assert '{"CustomerId":\n "7\\u009b2J ü"}' in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
