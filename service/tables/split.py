"""Rows of a table that a canary scores, chosen by their identifiers. Importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from churn import identifiers
from churn.share import choose
from churn.tables.encode import encode_batch
from churn.tables.shared_texts import take_rows
from service.observe.scored import merge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.schema import Schema
    from churn.scorer import Scorer
    from churn.tables.encode import Encoded
    from churn.tables.rows import Rows

    Pair = tuple[NDArray[Any], NDArray[Any]]


class JobCanary(NamedTuple):
    """The canary as far as a table needs it.

    Attributes
    ----------
    scorer : Scorer
    share : float
        Of the customers, from 0 to 1.
    can_score : bool
        Whether it can score the rows as they are read for the served version; see `can_read`.
    """

    scorer: Scorer
    share: float
    can_score: bool


class Split(NamedTuple):
    """The rows of a block that the canary scores.

    Attributes
    ----------
    chosen : ndarray of bool, shape (accepted rows,)
    raw : ndarray of float64, shape (chosen rows, features of the canary)
    """

    chosen: NDArray[np.bool_]
    raw: NDArray[np.float64]


def can_read(schema: Schema, other: Schema) -> bool:
    """Return whether rows that are read with a schema have all that another one needs, as text or number alike."""
    known = {feature.name: feature.is_text for feature in schema.features}
    return all(known.get(feature.name) == feature.is_text for feature in other.features)


def split_rows(schema: Schema, canary: JobCanary, rows: Rows, encoded: Encoded) -> tuple[Split | None, int]:
    """Choose the rows that the canary scores.

    Parameters
    ----------
    schema : Schema
        Of the served version, which has accepted the rows.
    canary : JobCanary
    rows : Rows
    encoded : Encoded
        The same rows.

    Returns
    -------
    split : Split or None
        None if it scores none of them.
    fallbacks : int
        Rows that were chosen, and that it can't score; the served version does.
    """
    if schema.identifier not in rows.batch.schema.names:
        return None, 0
    names = identifiers.as_text(rows.batch.column(schema.identifier)).to_pylist()
    accepted = ~encoded.wrong
    known = choose(names, canary.share) & accepted[rows.known_places]
    wanted = int(np.count_nonzero(known))
    if not wanted or not canary.can_score:
        return None, wanted
    found = encode_batch(canary.scorer.schema, take_rows(rows.batch, np.flatnonzero(known)), rows.decimals)
    chosen = np.zeros(rows.total, dtype=bool)
    chosen[rows.known_places[known][~found.wrong]] = True
    raw = found.accepted
    return (Split(chosen[accepted], raw) if len(raw) else None), wanted - len(raw)


class RowScorer(Protocol):
    """What scores the accepted rows of a block; see `churn.scorer.Scorer`."""

    def prepare(self, raw: NDArray[np.float64]) -> Any:  # noqa: ANN401  what `infer` takes
        """Preprocess rows."""

    def infer(self, matrix: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """Return the probability of each row."""
        ...

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the decision on each row."""
        ...


class SplitScorer:
    """Scores the accepted rows of a block with two models, as `churn.scorer.Scorer` does with one.

    Parameters
    ----------
    champion, challenger : Scorer
        Of the served version and of the canary.
    split : Split
    """

    def __init__(self, champion: Scorer, challenger: Scorer, split: Split) -> None:
        self._champion, self._challenger, self._split = champion, challenger, split

    def prepare(self, raw: NDArray[np.float64]) -> Pair:
        """Return the matrices of both; `raw` has all accepted rows, as the served version reads them."""
        return self._champion.prepare(raw[~self._split.chosen]), self._challenger.prepare(self._split.raw)

    def infer(self, matrices: Pair) -> NDArray[np.float64]:
        """Return the probability of each row."""
        found = self._champion.infer(matrices[0]), self._challenger.infer(matrices[1])
        return merge(self._split.chosen, *found)

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the decision on each row, with the threshold of the version that scored it."""
        chosen = self._split.chosen
        found = self._champion.decide(probabilities[~chosen]), self._challenger.decide(probabilities[chosen])
        return merge(chosen, *found)
