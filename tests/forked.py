"""Processes that train. They are forked from one that has imported TensorFlow, which saves each of them the import.

A process is safe to fork while no thread of it is at work. TensorFlow starts threads with its first operation, which
the process that is forked never runs; OpenBLAS would start them when it is imported, and is told not to.
"""

from __future__ import annotations

import multiprocessing
from functools import cache
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

import pytest
from processes import COVERAGE, default_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext, ForkServerProcess

PRELOADED = ["cli.train", "keras", "pytest", "quick", "training.job", "training.publication", "training.streaming.job"]


@cache
def start_server() -> ForkServerContext:
    """Start the process that is forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch, default_signals():
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        for name in COVERAGE:  # it runs none of our code
            patch.delenv(name, raising=False)
        forkserver.ensure_running()
    return context


def start_forked(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a process that calls a function of a module."""
    process = start_server().Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def run_forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own and return what it returns."""
    receiver, sender = start_server().Pipe(duplex=False)
    process = start_forked(_send, sender, function, *arguments)
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        pytest.fail("the process ended; its errors are in the captured output")
    finally:
        process.kill()
        process.join()
    return answer


def _send(sender: Any, function: Callable[..., Any], *arguments: Any) -> None:
    sender.send(function(*arguments))
