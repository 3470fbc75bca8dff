"""The commands of `churn` as click knows them, so that a new one is part of the tests of all of them."""

from __future__ import annotations

import click

from cli.reference import walk_commands

COMMANDS = [each.command_path for each in walk_commands() if not isinstance(each.command, click.Group)]
