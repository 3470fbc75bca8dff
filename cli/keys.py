"""`churn keys`: create, list and revoke API keys of the service."""

from __future__ import annotations

import re
from datetime import timedelta
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.errors import ChurnError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from service.guard.keys_file import ApiKey

SCOPES = ("predict", "metrics", "admin", "records")

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_match_lifetime = re.compile(r"([1-9][0-9]{0,4})([dhm])").fullmatch

MAX_RATE = 1e9
"""As in `service.guard.keys_file`, which is imported late."""

file_option = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="CHURN_API_KEYS",
    show_envvar=True,
    help="File of the keys; it holds salted hashes, not the keys.",
)


class Rate(click.FloatRange):
    """A rate limit: a number above 0."""

    def __init__(self) -> None:
        super().__init__(0, MAX_RATE, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the rate; NaN is in no range, but compares as if it were."""
        rate: float = super().convert(value, param, ctx)
        if isnan(rate):
            self.fail(f"{value!r} is no number; allowed: above 0, up to {MAX_RATE:g}", param, ctx)
        return rate


class Lifetime(click.ParamType[timedelta | None]):
    """A number of days, hours or minutes, or "never"."""

    name = "lifetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | None:  # noqa: ANN401
        """Return the time until a key expires."""
        if value is None or isinstance(value, timedelta) or value == "never":
            return None if value == "never" else value
        match = _match_lifetime(value)
        if match is None:
            self.fail(
                f"{value!r}; allowed: a number of days, hours or minutes, e.g. 90d, 12h or 30m, or never", param, ctx
            )
        return int(match[1]) * _UNITS[match[2]]


@click.group()
def keys() -> None:
    """Create, list and revoke API keys of the service.

    A running service reads the file again within a second.
    """


@keys.command()
@click.option("--name", required=True, help="Name of the caller in logs and metrics.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="What the caller may do; can be repeated.",
)
@click.option(
    "--expires", type=Lifetime(), default="90d", show_default=True, help="Lifetime: e.g. 90d, 12h, 30m, or never."
)
@click.option("--requests-per-second", type=Rate(), help="Rate limit of this caller.")
@click.option("--customers-per-second", type=Rate(), help="The same, in customers.")
@click.option("--if-absent", is_flag=True, help="Do nothing if there is a key of this name.")
@file_option
def create(
    name: str,
    scopes: Sequence[Any],
    expires: timedelta | None,
    requests_per_second: float | None,
    customers_per_second: float | None,
    if_absent: bool,
    file: Path,
) -> None:
    """Create a key and print it: only now, since the file keeps a hash of it.

    Example: churn keys create --name crm --scope predict --expires 90d --file keys.json
    """
    from service.guard.key_hash import hash_secret, make_key
    from service.guard.keys_file import MAX_KEYS, NAME_FORM, ApiKey, change_keys, now

    if not re.fullmatch(NAME_FORM, name):
        raise ChurnError(f"--name {name!r} can't be used; allowed: up to 64 letters, digits, dots, dashes, underscores")
    with change_keys(file) as stored:
        if any(key.name == name for key in stored):
            if if_absent:
                click.echo(f"a key named {name} already exists", err=True)
                return
            raise ChurnError(f"{file}: a key named {name} already exists; revoke it, or choose another name")
        if len(stored) >= MAX_KEYS:
            raise ChurnError(f"{file}: has {len(stored)} keys; allowed: {MAX_KEYS}")
        parts, whole = make_key()
        created = now()
        stored.append(
            ApiKey(
                name=name,
                id=parts.id,
                hash=hash_secret(parts.secret),
                scopes=tuple(dict.fromkeys(scopes)),
                created=created,
                expires=None if expires is None else created + expires,
                requests_per_second=requests_per_second,
                customers_per_second=customers_per_second,
            )
        )
    click.echo(f"{name} may: {', '.join(dict.fromkeys(scopes))}; the key is not shown again:", err=True)
    click.echo(whole)


@keys.command("list")
@file_option
def list_keys(file: Path) -> None:
    """List the keys: names, scopes, limits, and when they expire.

    Example: churn keys list --file keys.json
    """
    from service.guard.keys_file import now, read_keys

    moment = now()
    click.echo("id        created     expires     name                  scopes")
    for key in read_keys(file):
        click.echo(
            f"{key.id}  {key.created:%Y-%m-%d}  {_describe_end(key, moment):<10}  {key.name:<20}  "
            f"{', '.join(key.scopes)}{_describe_limits(key)}"
        )


@keys.command()
@click.argument("name")
@file_option
def revoke(name: str, file: Path) -> None:
    """Remove the key NAME; running services refuse it within a second.

    Example: churn keys revoke crm --file keys.json
    """
    from service.guard.keys_file import change_keys

    with change_keys(file) as stored:
        left = [key for key in stored if key.name != name]
        if len(left) == len(stored):
            known = ", ".join(key.name for key in stored) or "none"
            raise ChurnError(f"{file}: there is no key named {name!r}; there are: {known}")
        stored[:] = left
    click.echo(f"{name} is revoked")


def _describe_end(key: ApiKey, moment: datetime) -> str:
    if key.expires is None:
        return "never"
    return "expired" if key.has_expired(moment) else f"{key.expires:%Y-%m-%d}"


def _describe_limits(key: ApiKey) -> str:
    limits = (("requests", key.requests_per_second), ("customers", key.customers_per_second))
    return "".join(f"; {rate:g} {quota}/s" for quota, rate in limits if rate is not None)
