"""The networks that can be trained: each with the encoding it wants and the way it is taught."""

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
    """A network and the way it is taught.

    Attributes
    ----------
    encoding : Encoding
        How columns become the matrix it takes.
    teach : callable (Lesson) -> Result
    stratify : bool
        Whether the test part keeps the share of leavers.
    """

    encoding: Encoding
    teach: Callable[[Lesson], Result]
    stratify: bool = True


NETWORKS = {
    "default": Network(Encoding(drop="if_binary"), teach_default),
    "reference": Network(PLAIN, reference.teach, stratify=False),
}
