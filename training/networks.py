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
        Whether the test set is stratified by the label.
    """

    encoding: Encoding
    teach: Callable[[Lesson], Result]
    stratify: bool = True


NETWORKS = {
    "default": Network(Encoding(drop="if_binary"), teach_default),
    "reference": Network(PLAIN, reference.teach, stratify=False),
}
