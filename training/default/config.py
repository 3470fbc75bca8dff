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
_STEPS: _Allowed = ("finite numbers", lambda value: all(math.isfinite(step) for step in value))
_ALLOWED: dict[str, _Allowed] = {
    "folds": ("a whole number of 2 or more", lambda value: value >= 2),
    "doubt": ("a finite number", math.isfinite),
    "tree_depths": (
        "at least one depth from 1 to 10",
        lambda value: len(value) > 0 and all(1 <= depth <= 10 for depth in value),
    ),
    "importance_steps": _STEPS,
    "tree_comparisons": _COUNT,
    "tree_passes": ("a finite number above 0", lambda value: 0 < value < math.inf),
    "search_rows": _COUNT,
    "bins": ("a whole number of 2 or more", lambda value: value >= 2),
    "strict_importance": ("a finite number", math.isfinite),
    "network_importances": _STEPS,
    "networks": _COUNT_OR_NONE,
    "hidden": _LAYERS,
    "multiplications": _COUNT,
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "learning_rate": ("a finite number above 0", lambda value: 0 < value < math.inf),
    "weight_decay": _SIZE,
    "dropout": _SHARE,
    "noise": _SIZE,
    "averaging": _SHARE,
    "budget": _SIZE,
}


@dataclass(frozen=True, slots=True)
class Config:
    """Hyperparameters of the default network.

    Attributes
    ----------
    folds : int
        Of the cross-validation; each fold has a member in every family.
    doubt : float
        Standard errors by which a choice must be better out of fold to be taken where it leaves columns out.
    tree_depths : tuple of int
        Depths that are tried for the boosted trees.
    importance_steps : tuple of float
        Least importances, in standard errors, that are tried for leaving features out. Empty: all are kept.
    tree_comparisons : int
        Comparisons that the trees may cost a row, about: the learning rate is set accordingly.
    tree_passes : float
        Trees of a fold times the learning rate, at most.
    search_rows : int
        Depth and columns are chosen on so many rows at most.
    bins : int
        Piecewise-linear bins of a quantity, at most.
    strict_importance : float
        Networks on bins also try only the features with at least this importance.
    network_importances : tuple of float
        Networks on standard scores also try only the features with at least each of these importances.
    networks : int
        Kinds of networks that are fitted, of 4: one hidden layer on bins, two on bins, two on normal scores, two on
        standard scores. 0: none.
    hidden : tuple of int
        Units of a member's hidden layer: with one layer, and each with two.
    multiplications : int
        That the networks may cost a row, about: a wide table gets fewer units.
    epochs, batch_size : int
        Epochs grow where rows are few, and shrink where they are many.
    learning_rate : float
        At its height, after the warm-up; falls to 0 along a cosine.
    weight_decay : float
        Decoupled (Loshchilov & Hutter, 2019), on kernels alone.
    dropout : float
    noise : float
        Standard deviation of the normal noise added to quantities' normal scores while fitting.
    averaging : float
        Decay of the running mean of the weights, which is what is kept (Polyak & Juditsky, 1992).
    budget : float
        Microseconds that the network may take for a row alone on one core: a student is published where the stack
        takes more. 0: no limit.
    """

    folds: int = 5
    doubt: float = 0.5
    tree_depths: tuple[int, ...] = (5, 6, 8)
    importance_steps: tuple[float, ...] = (0.0, 2.0, 4.0)
    tree_comparisons: int = 8000
    tree_passes: float = 100.0
    search_rows: int = 20_000
    bins: int = 14
    strict_importance: float = 4.0
    network_importances: tuple[float, ...] = (2.0, 3.0, 5.0)
    networks: int = 4
    hidden: tuple[int, ...] = (64, 32)
    multiplications: int = 60_000
    epochs: int = 40
    batch_size: int = 128
    learning_rate: float = 0.01
    weight_decay: float = 0.1
    dropout: float = 0.2
    noise: float = 0.1
    averaging: float = 0.98
    budget: float = 0.0

    def __post_init__(self) -> None:
        for name, (wanted, allows) in _ALLOWED.items():
            value = getattr(self, name)
            if not allows(value):
                raise ConfigError(f"{name} is {value}; allowed: {wanted}")

    @property
    def is_searched(self) -> bool:
        """Whether depth or features are chosen, or the networks need the importance of features."""
        return len(self.tree_depths) > 1 or bool(self.importance_steps) or bool(self.networks)

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
            if wanted is tuple and isinstance(value, list | tuple) and _are_alike(value, getattr(cls(), name)):
                values[name] = tuple(type(getattr(cls(), name)[0])(item) for item in value)
            elif type(value) is wanted or (wanted is float and type(value) is int):
                values[name] = wanted(value)
            else:
                raise ConfigError(f"{name} is {value!r}; allowed: a value like {getattr(cls(), name)!r}")
        return cls(**values)


def _are_alike(found: Sequence[Any], shipped: tuple[Any, ...]) -> bool:
    """Whether all items are numbers of the shipped ones' type; whole ones pass for floats."""
    return all(type(item) is type(shipped[0]) or (type(shipped[0]) is float and type(item) is int) for item in found)


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
