"""How a table too large for memory is trained on: the options, and when they hold."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.dataset import take_told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.streaming.settings import Streaming
    from training.streaming.spread import StreamedTable

_ONLY_STREAMED = {
    "epochs": "--epochs",
    "batch_rows": "--batch-rows",
    "mixed_precision": "--mixed-precision",
    "scratch": "--scratch",
}

_OPTIONS = [
    click.option(
        "--stream/--in-memory",
        "stream",
        default=None,
        help="Whether the table is streamed from disk.  [default: above 200,000 rows, and a folder of Parquet files]",
    ),
    click.option(
        "--epochs", type=click.IntRange(1), help="Streamed: passes over the table, at most; else by its size."
    ),
    click.option(
        "--batch-rows", type=click.IntRange(256), help="Streamed: rows a step and GPU, at most.  [default: 8192]"
    ),
    click.option(
        "--mixed-precision/--full-precision",
        default=None,
        help="Streamed: hidden layers in float16 or float32.  [default: float16 on GPUs with tensor cores]",
    ),
    click.option(
        "--scratch",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Streamed: folder for the encoded table, 200 to 300 bytes a row, removed at the end.  [default: the "
        "system's for temporary files]",
    ),
]


def streaming_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `take_streaming` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_streaming(data: Path, chosen: dict[str, Any]) -> Streaming | None:
    """Take the options of `streaming_options` out of what was chosen; return how to stream, or None: in memory.

    Raises
    ------
    UsageError
        If options contradict each other.
    """
    from training.streaming.read import count_rows
    from training.streaming.settings import STREAM_ROWS, Streaming

    told = {name: chosen.pop(name) for name in _ONLY_STREAMED}
    stream, is_default = chosen.pop("stream"), chosen["network"] == "default"
    if stream is None:
        stream = is_default and (data.is_dir() or count_rows(data) > STREAM_ROWS)
    if not stream:
        given = [option for name, option in _ONLY_STREAMED.items() if told[name] is not None]
        if given:
            raise click.UsageError(f"the table is trained on in memory; for --stream only: {', '.join(given)}")
        return None
    if not is_default:
        raise click.UsageError(f"the {chosen['network']} network is taught in memory; --stream is for the default one")
    if chosen["validation_size"] == 0:
        raise click.UsageError("a streamed training needs a validation part; choose a --validation-size above 0")
    told["validation_size"] = chosen["validation_size"]
    return Streaming(**{name: value for name, value in told.items() if value is not None})


@contextmanager
def open_told(data: Path, chosen: dict[str, Any], streaming: Streaming) -> Iterator[StreamedTable]:
    """Encode a table as the options of `dataset_options` say, and take them out of what was chosen."""
    from training.streaming.spread import Split, open_streamed

    split = Split(chosen["test_size"], streaming.validation_size, chosen["seed"])
    with open_streamed(data, split, scratch=streaming.scratch, **take_told(chosen)) as table:
        yield table
