"""`churn serve`: the HTTP service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import engine_option, models_option

if TYPE_CHECKING:
    from churn.engines import EngineChoice
    from service.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of worker processes.  [default: one per CPU with ONNX Runtime, 1 with TensorFlow]",
)
@click.option(
    "--take-over",
    is_flag=True,
    help="Replace a running service: take over its socket; once this one is ready, the other drains and exits.",
)
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="CHURN_ENV_FILE",
    show_envvar=True,
    help="File with settings as lines NAME=value, read again on SIGHUP. Environment variables go before it.",
)
@models_option
@engine_option
def serve(
    host: str,
    port: int,
    workers: int | None,
    take_over: bool,
    env_file: Path | None,
    models: Path,
    engine: EngineChoice,
) -> None:
    """Serve the current model over HTTP; interactive API documentation is at /docs.

    Further settings are environment variables with the prefix CHURN_ (docs/configuration.md).

    Example: churn serve --port 8000
    """
    from churn.engines import choose_engine
    from churn.runtime.cpus import count_cpus
    from service.env_file import EnvFile
    from service.serve import serve as serve_forever
    from service.settings import read_settings

    file = None if env_file is None else EnvFile(env_file)

    def read() -> Settings:
        if file is not None:
            file.load()
        return read_settings(models=models, engine=engine)

    settings = read()
    if workers is None:
        workers = count_cpus() if choose_engine(engine) == "onnx" else 1
    serve_forever(settings, host=host, port=port, workers=workers, take_over=take_over, reread=read if file else None)
