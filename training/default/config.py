"""What can be turned on the default network; the values were found on validation parts alone (docs/quality.md)."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from churn.errors import ChurnError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ConfigError(ChurnError):
    """A configuration file that says something a `Config` can't hold."""


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters of the default network.

    Attributes
    ----------
    folds : int
        Parts of the cross-validation; each member is taught without one of them. 1 teaches on everything.
    repeats : int
        Members a fold.
    hidden : tuple of int
        Units of each hidden layer of a member.
    epochs, batch_size : int
    learning_rate : float
        At its height, after the warm-up; falls to 0 along a cosine.
    warm_up : float
        Share of the steps over which it rises.
    weight_decay : float
        Decoupled (Loshchilov & Hutter, 2019), on kernels alone.
    dropout : float
    noise : float
        Standard deviation of the normal noise added to scaled quantities while teaching.
    averaging : float
        Decay of the running mean of the weights, which is what is kept (Polyak & Juditsky, 1992).
    label_noise : float
        Share of labels taken to be chance: no probability goes below it or above its complement.
    max_tails : int
        Tails of columns that get indicators, at most. 0: none.
    tail_gain : float
        Least gain in log likelihood, in nats, that a tail must bring.
    keep_columns : float
        Least importance of a column, in standard errors, to be kept.
    tree_weight : float
        Weight of the gradient-boosted trees among the teachers. 0: none.
    student : tuple of int
        Units of each hidden layer of the network that ships.
    student_steps, synthetic_rows : int
        Steps of its teaching, and customers made up for it.
    """

    folds: int = 10
    repeats: int = 3
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 3e-2
    warm_up: float = 0.05
    weight_decay: float = 0.03
    dropout: float = 0.2
    noise: float = 0.1
    averaging: float = 0.98
    label_noise: float = 0.005
    max_tails: int = 4
    tail_gain: float = 5.0
    keep_columns: float = 4.0
    tree_weight: float = 0.15
    student: tuple[int, ...] = (64, 32)
    student_steps: int = 5000
    synthetic_rows: int = 40_000

    def __post_init__(self) -> None:
        for name in ("folds", "repeats", "epochs", "batch_size", "student_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: a whole number of 1 or more")
        for name in ("dropout", "averaging", "tree_weight", "label_noise", "warm_up"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: a number from 0 to below 1")
        if not self.hidden or not self.student:
            raise ConfigError("hidden and student need at least one layer each")

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Config:
        """Read what `to_dict` wrote, or a part of it.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is of the wrong type.
        """
        known = {field.name: type(getattr(cls(), field.name)) for field in fields(cls)}
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ConfigError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        values: dict[str, Any] = {}
        for name, value in data.items():
            wanted = known[name]
            if wanted is tuple and isinstance(value, list | tuple) and all(type(unit) is int for unit in value):
                values[name] = tuple(value)
            elif type(value) is wanted or (wanted is float and type(value) is int):
                values[name] = wanted(value)
            else:
                raise ConfigError(f"{name} is {value!r}; allowed: like {getattr(cls(), name)!r}")
        return cls(**values)


def read_config(path: Path) -> Config:
    """Read a TOML file with a table ``[network]``.

    Raises
    ------
    ConfigError
        Naming the file and what is wrong in it.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return Config.from_dict(data.get("network", {}))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ConfigError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}") from error
