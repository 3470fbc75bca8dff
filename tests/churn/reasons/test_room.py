from __future__ import annotations

import numpy as np

from churn.reasons.room import ROOM_BYTES, Room


def test_memory_is_used_again() -> None:
    room = Room(64)
    assert room.rows * 64 * 4 == ROOM_BYTES
    with room.take(10) as first:
        assert first.shape == (10, 64)
        assert first.dtype == np.float32
    with room.take(room.rows) as second:
        assert len(second) == room.rows
        assert np.shares_memory(first, second)


def test_matrices_that_are_lent_at_the_same_time_are_different() -> None:
    room = Room(64)
    with room.take(10) as first, room.take(10) as second:
        assert not np.shares_memory(first, second)


def test_what_is_too_large_is_not_kept() -> None:
    room = Room(3)
    with room.take(room.rows + 1) as large:
        assert len(large) == room.rows + 1
    with room.take(1) as small:
        assert not np.shares_memory(large, small)


def test_a_network_of_any_width_has_room_for_a_row() -> None:
    assert Room(ROOM_BYTES).rows == 1
