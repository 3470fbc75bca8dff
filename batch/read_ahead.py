"""Something read on a thread of its own while what was read before is worked on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

T = TypeVar("T")


@contextmanager
def read_ahead(items: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """Yield an iterator of `items`, none of which is None; the next is made while one is worked on.

    What making one raises is raised where it is asked for. When the block ends, whatever the reason, `items` is
    closed and its thread has ended.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:

        def take() -> Iterator[T]:
            coming = thread.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = thread.submit(next, items, None)
                yield item

        try:
            yield take()
        finally:
            thread.submit(items.close).result()
