"""Read items ahead on a separate thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

T = TypeVar("T")


@contextmanager
def read_ahead(items: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """Yield an iterator over `items` that computes the next item on another thread.

    Items must not be None. An exception raised by `items` is raised again where the item is requested. When the block
    ends for any reason, `items` is closed and the thread has ended.
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
