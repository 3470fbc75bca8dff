"""The `churn` command group and the exit codes of all its commands."""

from __future__ import annotations

import os
import signal
import sys

import click
from click.core import ParameterSource

from churn import __version__
from churn.errors import ChurnError
from churn.runtime.cpus import limit_thread_pools
from cli.evaluate import evaluate
from cli.keys import keys
from cli.models import models
from cli.outcomes import outcomes
from cli.records import records
from cli.score import score
from cli.serve import serve
from cli.simulate import simulate
from cli.train import train
from cli.tune import tune

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="churn")
def churn() -> None:
    """Train and serve a model of how likely each customer is to leave.

    Exit codes: 0 success; 1 error, with the reason; 2 wrong usage or too many rejects; 130 interrupted.
    """


for command in (train, tune, evaluate, serve, score, simulate, models, keys, outcomes, records):
    churn.add_command(command)


def _explain_variable(error: click.ClickException) -> str | None:
    """Return a message for an invalid environment variable; None if the option was given on the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None or not error.param.name:
        return None
    if error.ctx.get_parameter_source(error.param.name) is not ParameterSource.ENVIRONMENT:
        return None
    name, kind = str(error.param.envvar), error.param.type
    allowed = f"allowed: {', '.join(kind.choices)}" if isinstance(kind, click.Choice) else error.message
    return f"{name}={os.environ.get(name)!r} can't be used; {allowed}"


def main() -> None:
    """Run the command line; report an error as one message, without a stack trace."""
    if os.getpid() == 1:  # process 1 of a container receives only the signals that it has handlers for
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    limit_thread_pools()
    try:
        sys.exit(churn.main(standalone_mode=False, prog_name="churn"))
    except ChurnError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    except BrokenPipeError:  # the reader of a pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_REFUSED)
    except OSError as error:  # a full disk, a folder without write permission
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    except click.ClickException as error:
        told = _explain_variable(error)
        click.echo(f"error: {told}", err=True) if told else error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: nothing was published", err=True)
        sys.exit(EXIT_INTERRUPTED)
