"""Places for requests that are worked on in turns."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from service.errors import Problem
from service.guard.caller import CALLER, NOBODY, Caller
from service.guard.places import Places, find_party

REFUSAL = Problem(503, "overloaded", "The service is overloaded", "in a test")


def hold(places: Places, stack: ExitStack, party: str) -> int:
    """Take places until one is refused; return how many were taken."""
    for taken in range(places.total + 1):
        try:
            stack.enter_context(places.take(party, REFUSAL))
        except Problem:
            return taken
    raise AssertionError("more places were given than there are")


def test_one_caller_gets_half_and_leaves_some_for_each_newcomer() -> None:
    places = Places(64)
    with ExitStack() as stack:
        assert [hold(places, stack, party) for party in "abcdef"] == [32, 16, 8, 4, 2, 1]
        assert hold(places, stack, "a") == 0
    with ExitStack() as stack:
        assert hold(places, stack, "b") == 32


def test_callers_who_ask_in_turn_get_equal_parts() -> None:
    places = Places(64)
    held = dict.fromkeys("abc", 0)
    with ExitStack() as stack:
        for _ in range(64):
            for party in held:
                try:
                    stack.enter_context(places.take(party, REFUSAL))
                    held[party] += 1
                except Problem:
                    pass
        assert held == {"a": 16, "b": 16, "c": 16}


def test_a_place_is_free_again_after_an_error() -> None:
    places = Places(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), places.take("a", REFUSAL):
            raise ZeroDivisionError
    with places.take("b", REFUSAL), pytest.raises(Problem), places.take("a", REFUSAL):
        pass


def test_a_party_is_the_caller_or_the_address() -> None:
    client = ("10.1.1.1", 999)
    assert find_party({"client": client, CALLER: Caller("crm", "crm", ["score"])}) == "caller crm"
    assert find_party({"client": client, CALLER: NOBODY}) == "address 10.1.1.1"
    assert find_party({"client": client}) == "address 10.1.1.1"
    assert find_party({"client": None}) == "address "
    # No address can pass for a caller.
    assert find_party({CALLER: Caller("address 10.1.1.1", "x", [])}) != find_party({"client": client})
