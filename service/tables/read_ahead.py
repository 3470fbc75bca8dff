"""Read items ahead in the event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

T = TypeVar("T")


@asynccontextmanager
async def read_ahead(items: AsyncGenerator[T, None]) -> AsyncIterator[AsyncIterator[T]]:
    """Yield an iterator over `items` that computes the next item while the current one is used.

    Items must not be None. An exception raised by `items` is raised again where the item is requested. When the block
    ends for any reason, `items` is closed.
    """
    coming: asyncio.Future[T | None] = asyncio.ensure_future(anext(items, None))

    async def take() -> AsyncIterator[T]:
        nonlocal coming
        while (item := await coming) is not None:
            coming = asyncio.ensure_future(anext(items, None))
            yield item

    try:
        yield take()
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await items.aclose()
