"""What the coordinator of model changes and the workers tell each other, as JSON texts over the supervisor's pipe."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

Action = Literal["promote", "rollback", "current", "shadow", "canary"]


class Staged(msgspec.Struct, frozen=True):
    """A verified private copy of a model version.

    Attributes
    ----------
    version : int
    digest : str
        Digest of its manifest and thereby of all its files.
    folder : str
    """

    version: int
    digest: str
    folder: str


class Lineup(msgspec.Struct, frozen=True):
    """The models that are served together.

    Attributes
    ----------
    champion : Staged
        Scores the customers.
    shadow : Staged or None
        Scores the same customers for comparison; nobody gets its answers.
    canary : Staged or None
        Scores a share of the customers instead of the champion.
    share : float
        The canary's share of the customers, from 0 to 1.
    """

    champion: Staged
    shadow: Staged | None = None
    canary: Staged | None = None
    share: float = 0.0

    @property
    def models(self) -> list[Staged]:
        """The models, each once."""
        given = (self.champion, self.shadow, self.canary)
        return list({model.digest: model for model in given if model is not None}.values())


class Wish(msgspec.Struct, frozen=True, tag="wish"):
    """A requested change.

    Attributes
    ----------
    action : {"promote", "rollback", "current", "shadow", "canary"}
        "current": serve what the file `current` names.
    version : int or None
        None for "rollback" and "current"; for "shadow" and "canary", None ends it.
    share : float
        The canary's share of the customers.
    number : int
        Identifies the wish of a worker, for the answer.
    """

    action: Action
    version: int | None = None
    share: float = 0.0
    number: int = 0


class Change(msgspec.Struct, frozen=True, tag="change", omit_defaults=True):
    """A change that has been made or has failed.

    Attributes
    ----------
    outcome : {"switched", "failed"}
    action : str
        Of the wish.
    version : str or None
        The version that was to be served; None if it is not known or there is none.
    reason : str or None
        Why the change failed.
    time : str
        ISO 8601, in UTC.
    number : int
        Of the wish, in the answer to the worker that had it; otherwise 0.
    is_counted : bool
        Whether the worker that receives it counts it in the metrics; one does.
    """

    outcome: Literal["switched", "failed"]
    action: Action
    version: str | None = None
    reason: str | None = None
    time: str = ""
    number: int = 0
    is_counted: bool = False


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """A worker that starts has loaded these models, and does not accept connections yet."""

    lineup: Lineup


class Admit(msgspec.Struct, frozen=True, tag="admit"):
    """These models are being served: accept connections, after loading them if they are others."""

    lineup: Lineup
    last_change: Change | None = None


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Load and verify these models, and keep them ready."""

    number: int
    lineup: Lineup


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """They are ready, or they are not, because of `fault`."""

    number: int
    fault: str = ""


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """Serve the prepared models from now on."""

    number: int


class Committed(msgspec.Struct, frozen=True, tag="committed"):
    """They are being served."""

    number: int


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Discard the prepared models."""

    number: int


ToWorker = Admit | Prepare | Commit | Abort | Change
FromWorker = Loaded | Prepared | Committed | Wish

encode = msgspec.json.Encoder().encode
decode_for_worker = msgspec.json.Decoder(ToWorker).decode
decode_from_worker = msgspec.json.Decoder(FromWorker).decode


def now() -> str:
    """Return the time in ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
