"""Random numbers of rows, which depend only on the seed and the row, not on the boundaries of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn import identifiers

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

PART, SHARD, SAMPLE = range(3)
"""Purposes of the random numbers."""

_SIP_KEY = np.frombuffer(b"0123456789123456", dtype="<u8")
_SIP_START = np.frombuffer(b"uespemosmodnarodarenegylsetybdet", dtype="<u8") ^ np.tile(_SIP_KEY, 2)


def number_keys(start: int, count: int) -> NDArray[np.uint64]:
    """Return keys of rows computed from their number in the table, counted from 0.

    Returns
    -------
    ndarray of uint64, shape (count,)
    """
    return np.arange(start, start + count, dtype=np.uint64)


def identifier_keys(column: pa.Array, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return keys of rows computed from the identifier, so that all rows of a customer are in the same set.

    Parameters
    ----------
    column : pyarrow.Array
        Identifiers of any type.
    numbers : ndarray of uint64, shape (n,)
        Result of `number_keys`, used for rows without an identifier.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    text = identifiers.as_text(column)
    return np.where(np.asarray(text.is_null(), dtype=bool), numbers, _hash(text))


def content_keys(raw: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return keys of rows computed from their values; equal rows have equal keys, and others hardly ever.

    Parameters
    ----------
    raw : ndarray of float64, shape (n, features)
    labels : ndarray of float64, shape (n,)

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    found = np.zeros(len(labels), dtype=np.uint64)
    for column in (*raw.T, labels):
        # One form of NaN and of 0.
        found = _mix(found ^ np.where(np.isnan(column), np.nan, column + 0.0).view(np.uint64))
    return found


def combine(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return keys of pairs of keys, shape (n,)."""
    return _mix(_mix(first) ^ second)


def _hash(text: pa.StringArray) -> NDArray[np.uint64]:
    """Return the scrambled SipHash-2-4 of the UTF-8 bytes of each string, computed for all strings at once.

    Aumasson and Bernstein (2012), "SipHash: a fast short-input PRF", INDOCRYPT.
    """
    ends = np.frombuffer(text.buffers()[1], dtype=np.int32)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    lengths = np.diff(ends)
    # Strings are padded to whole words of eight bytes; the last byte is the length.
    words = lengths // 8 + 1
    firsts = np.cumsum(words) - words
    padded = np.zeros(8 * int(words.sum()), dtype=np.uint8)
    padded[np.arange(ends[-1] - ends[0]) + np.repeat(8 * firsts - ends[:-1] + ends[0], lengths)] = np.frombuffer(
        text.buffers()[2] or b"", dtype=np.uint8
    )[ends[0] : ends[-1]]
    padded[8 * (firsts + words) - 1] = lengths & 0xFF
    message = padded.view("<u8")
    state = np.repeat(_SIP_START[:, None], len(text), axis=1)
    for place in range(words.max(initial=0)):
        longer = words > place
        rows = slice(None) if longer.all() else np.flatnonzero(longer)
        part, word = state[:, rows], message[firsts[rows] + place]
        part[3] ^= word
        _sip_rounds(part, 2)
        part[0] ^= word
        state[:, rows] = part
    state[2] ^= np.uint64(0xFF)
    _sip_rounds(state, 4)
    return _scramble(np.bitwise_xor.reduce(state))


def _sip_rounds(state: NDArray[np.uint64], count: int) -> None:
    for _ in range(count):
        for one, other, turn, turn_one in ((0, 1, 13, 32), (2, 3, 16, 0), (0, 3, 21, 0), (2, 1, 17, 32)):
            state[one] += state[other]
            state[other] = _rotate(state[other], turn) ^ state[one]
            if turn_one:
                state[one] = _rotate(state[one], turn_one)


def _rotate(values: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))


def draw(keys: NDArray[np.uint64], seed: int, purpose: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key: SplitMix64 of key, seed and purpose.

    Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
    seed, purpose : int
        The numbers differ for each pair. `purpose` is at most 14.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    start = _mix(np.array([seed * 16 + purpose + 1], dtype=np.uint64))
    numbers: NDArray[np.float64] = (_mix(_mix(keys) ^ start) >> np.uint64(11)) * np.float64(2.0**-53)
    return numbers


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _scramble(values + np.uint64(0x9E3779B97F4A7C15))


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return scrambled
