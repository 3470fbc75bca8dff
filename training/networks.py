"""Registry of the networks that can be trained, with their encodings and training functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training import reference
from training.default.teach import teach as teach_default
from training.preprocess import PLAIN, Encoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.lesson import Lesson, Result


@dataclass(frozen=True, slots=True)
class Network:
    """A trainable network.

    Attributes
    ----------
    encoding : Encoding
        Encoding of the columns for this network.
    teach : callable (Lesson) -> Result
    stratify : bool
        Whether the test part keeps the share of leavers.
    folded : bool
        Whether it is cross-validated.
    """

    encoding: Encoding
    teach: Callable[[Lesson], Result]
    stratify: bool = True
    folded: bool = False


NETWORKS = {
    "default": Network(
        Encoding("if_binary", max_levels=0, only_levels=0, spike_share=1.0, level_rows=10, most_levels=32),
        teach_default,
        folded=True,
    ),
    "reference": Network(PLAIN, reference.teach, stratify=False),
}
