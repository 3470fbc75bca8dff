"""Options for training on tables larger than memory."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.dataset import pop_dataset_options

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
        help="Stream the table from disk or load it into memory.  [default: stream above 200,000 rows and for folders]",
    ),
    click.option(
        "--epochs", type=click.IntRange(1), help="Streaming: maximum number of epochs.  [default: by the table's size]"
    ),
    click.option(
        "--batch-rows", type=click.IntRange(256), help="Streaming: maximum batch size per device.  [default: 8192]"
    ),
    click.option(
        "--mixed-precision/--full-precision",
        default=None,
        help="Streaming: hidden layers in float16 or float32.  [default: float16 on GPUs with tensor cores]",
    ),
    click.option(
        "--scratch",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Streaming: folder for the encoded table (80 to 300 bytes per row), deleted afterwards.  [default: the "
        "system's temporary folder]",
    ),
]


def streaming_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `pop_streaming_options` reads to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def pop_streaming_options(data: Path, options: dict[str, Any]) -> Streaming | None:
    """Remove the options of `streaming_options` from `options` and return the settings for streaming.

    Returns
    -------
    Streaming or None
        None if the table is to be loaded into memory.

    Raises
    ------
    UsageError
        If options contradict each other.
    """
    from training.source import count_rows
    from training.streaming.settings import STREAM_ROWS, Streaming

    values = {name: options.pop(name) for name in _ONLY_STREAMED}
    stream, is_default = options.pop("stream"), options["network"] == "default"
    if stream is None:
        stream = is_default and (data.is_dir() or count_rows(data) > STREAM_ROWS)
    if not stream:
        given = [option for name, option in _ONLY_STREAMED.items() if values[name] is not None]
        if given:
            raise click.UsageError(f"the table is loaded into memory; these need --stream: {', '.join(given)}")
        return None
    if not is_default:
        raise click.UsageError(f"--stream needs the default network, not --network {options['network']}")
    values["validation_size"] = options["validation_size"]
    return Streaming(**{name: value for name, value in values.items() if value is not None})


@contextmanager
def open_from_options(data: Path, options: dict[str, Any], streaming: Streaming) -> Iterator[StreamedTable]:
    """Encode the training table with the options of `dataset_options`, which are removed from `options`."""
    from training.streaming.spread import Split, open_streamed

    split = Split(options["test_size"], streaming.validation_size, options["seed"])
    with open_streamed(data, split, scratch=streaming.scratch, **pop_dataset_options(options)) as table:
        yield table
