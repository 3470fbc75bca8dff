"""What can be turned on the default network; the values were found on validation parts alone (docs/quality.md)."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import tomli_w

from churn.errors import ChurnError
from churn.runtime.files import replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class ConfigError(ChurnError):
    """A configuration file that says something a `Config` can't hold."""


_Allowed = tuple[str, "Callable[[Any], bool]"]
_COUNT: _Allowed = ("a whole number of 1 or more", lambda value: value >= 1)
_COUNT_OR_NONE: _Allowed = ("a whole number of 0 or more", lambda value: value >= 0)
_LAYERS: _Allowed = (
    "at least one layer, each of 1 unit or more",
    lambda value: len(value) > 0 and all(units >= 1 for units in value),
)
_SHARE: _Allowed = ("a number from 0 to below 1", lambda value: 0 <= value < 1)
_SIZE: _Allowed = ("a finite number of 0 or more", lambda value: 0 <= value < math.inf)
_ALLOWED: dict[str, _Allowed] = {
    "folds": _COUNT,
    "repeats": _COUNT,
    "hidden": _LAYERS,
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "learning_rate": ("a finite number above 0", lambda value: 0 < value < math.inf),
    "warm_up": _SHARE,
    "weight_decay": _SIZE,
    "dropout": _SHARE,
    "noise": _SIZE,
    "averaging": _SHARE,
    "label_noise": ("a number from 0 to below 0.5", lambda value: 0 <= value < 0.5),
    "max_tails": _COUNT_OR_NONE,
    "tail_gain": _SIZE,
    "keep_columns": ("a finite number", math.isfinite),
    "tree_weight": ("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "student": _LAYERS,
    "student_steps": _COUNT,
    "synthetic_rows": _COUNT,
}


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
        for name, (wanted, allows) in _ALLOWED.items():
            value = getattr(self, name)
            if not allows(value):
                raise ConfigError(f"{name} is {value}; allowed: {wanted}")

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
    """Read a TOML file with a table ``[network]``; what it does not name stays as it is shipped.

    Raises
    ------
    ConfigError
        Naming the file, what is wrong in it, and what is allowed.
    """
    try:
        return Config.from_dict(_find_table(tomllib.loads(path.read_text(encoding="utf-8"))))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _find_table(data: dict[str, Any]) -> dict[str, Any]:
    table = data.get("network")
    if not isinstance(table, dict) or len(data) > 1:
        found = ", ".join(data) or "nothing"
        raise ConfigError(f"it holds {found}; allowed: one table [network] with the hyperparameters, nothing else")
    return table


def write_config(path: Path, config: Config, words: Sequence[str] = ()) -> None:
    """Write a file that `read_config` reads, with some lines of words on top; whole or not at all."""
    head = "".join(f"# {line}\n" for line in words)
    replace_text(path, head + tomli_w.dumps({"network": config.to_dict()}))
