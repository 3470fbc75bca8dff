"""Registry of the networks that can be trained, with their encodings and training functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training import reference
from training.default.train import train as train_default
from training.preprocess import PLAIN, Encoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.context import Result, TrainingContext


@dataclass(frozen=True, slots=True)
class Network:
    """A trainable network.

    Attributes
    ----------
    encoding : Encoding
        Encoding of the columns for this network.
    fit : callable (TrainingContext) -> Result
    stratify : bool
        Whether the test part keeps the share of leavers.
    folded : bool
        Whether it is cross-validated.
    """

    encoding: Encoding
    fit: Callable[[TrainingContext], Result]
    stratify: bool = True
    folded: bool = False


NETWORKS = {
    "default": Network(
        Encoding("if_binary", max_levels=0, only_levels=0, spike_share=1.0, level_rows=10, most_levels=32),
        train_default,
        folded=True,
    ),
    "reference": Network(PLAIN, reference.fit, stratify=False),
}
