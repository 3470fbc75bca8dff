"""Walks the default network's line: tails, columns, bag, trees, calibration, student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from threadpoolctl import threadpool_limits

from churn.layers import TailIndicators
from training.default import distill
from training.default.survey import Survey, survey
from training.default.teachers import Teachers
from training.lesson import Lesson, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor
    from training.default.config import Config
    from training.default.tails import Tail

MAX_CUTS = 16
"""Cuts kept of each tail's staircases, all members' together."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the network that ships is put together from.

    Attributes
    ----------
    smooth : keras.Model
        Of `distill.build_smooth`, on the columns kept.
    kept : ndarray of int64
        Columns of the matrix it looks at.
    cuts : list of (column, sign, cut, weight)
        What passing each cut adds to the logit.
    """

    smooth: keras.Model
    kept: NDArray[np.int64]
    cuts: list[tuple[int, int, float, float]]


def teach(lesson: Lesson) -> Result:
    """Teach the default network, cross-validated over all rows of the lesson."""
    # The trees' threads wait for each other by spinning: on a busy machine that takes ten times as long as one alone.
    with threadpool_limits(1, user_api="openmp"):
        return _teach(lesson, lesson.config)


def _teach(lesson: Lesson, config: Config) -> Result:
    matrix, seed = lesson.matrix, lesson.seed
    found = survey(matrix, lesson.labels, lesson.preprocessor, config, seed)
    teachers = Teachers(matrix, lesson.labels, found, config, seed)
    return Result(
        model=make_student(lesson, found, teachers),
        history=teachers.history,
        out_of_fold=teachers.out_of_fold,
        notes=describe(lesson.preprocessor, found, config),
    )


def make_student(lesson: Lesson, found: Survey, teachers: Teachers) -> keras.Model:
    """Teach the network that ships to say what its teachers say."""
    parts = teach_parts(lesson, found, teachers)
    return assemble(parts.smooth, parts.kept, parts.cuts, lesson.matrix.shape[1], lesson.config)


def teach_parts(lesson: Lesson, found: Survey, teachers: Teachers) -> Parts:
    """Teach the smooth part to say what the teachers say, and pool their tails."""
    matrix, config, seed, kept = lesson.matrix, lesson.config, lesson.seed, teachers.kept
    smooth = distill.build_smooth(len(kept), config.student)
    if lesson.earlier is not None:
        _start_from(smooth, lesson.earlier, kept)
    made = distill.make_up_customers(
        matrix, found.groups, found.quantities, config.synthetic_rows, np.random.default_rng(seed + 1)
    )
    shown = np.concatenate([matrix[:, kept]] * distill.REAL_COPIES + [made[:, kept]])
    said = np.concatenate([teachers.say(matrix)] * distill.REAL_COPIES + [teachers.say(made)])
    distill.teach_student(smooth, shown, said, config, seed + 2)
    return Parts(smooth, kept, _pool_cuts(found.tails, teachers.jumps))


def _start_from(smooth: keras.Model, earlier: keras.Model, kept: NDArray[np.int64]) -> None:
    """Give the student the weights of an earlier one, as far as its layers have the same shape."""
    for layer in smooth.layers[1:]:
        before = {weight.name: weight.numpy() for weight in earlier.get_layer(layer.name).weights}
        if layer.name == "hidden_0":
            before["kernel"] = before["kernel"][kept]
        if all(before[weight.name].shape == tuple(weight.shape) for weight in layer.weights):
            layer.set_weights([before[weight.name] for weight in layer.weights])


def _pool_cuts(tails: list[list[Tail]], weights: NDArray[np.floating[Any]]) -> list[tuple[int, int, float, float]]:
    """Average all members' staircases of each end into at most `MAX_CUTS` steps.

    Returns
    -------
    list of (column, sign, cut, weight)
        What passing the cut adds to the logit.
    """
    repeats = len(weights) // len(tails)
    steps: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for index, found in enumerate(tails):
        for position, tail in enumerate(found):
            share = weights[index * repeats : (index + 1) * repeats, position].sum() / len(weights) / len(tail.cuts)
            steps.setdefault((tail.column, tail.sign), []).extend((cut, float(share)) for cut in tail.cuts)
    return [
        (column, sign, float(np.median(part[:, 0])), float(part[:, 1].sum()))
        for (column, sign), pairs in steps.items()
        for part in np.array_split(np.array(sorted(pairs)), min(MAX_CUTS, len(pairs)))
    ]


def assemble(
    smooth: keras.Model,
    kept: NDArray[np.int64],
    cuts: list[tuple[int, int, float, float]],
    width: int,
    config: Config,
) -> keras.Model:
    """Put the shipped network together: the student on all columns, the tails, and the noise floor.

    A column that was not kept has weights of 0, so that the network takes the preprocessor's matrix as it is.
    """
    inputs = keras.Input((width,), name="customer")
    whole = distill.build_smooth(width, config.student)
    for layer in whole.layers[1:]:
        weights = smooth.get_layer(layer.name).get_weights()
        if layer.name == "hidden_0":
            kernel = np.zeros((width, weights[0].shape[1]), dtype=np.float32)
            kernel[kept] = weights[0]
            weights[0] = kernel
        layer.set_weights(weights)
    hidden = inputs
    for layer in whole.layers[1:]:
        hidden = layer(hidden)
    if cuts:
        columns, signs, places, steps = zip(*cuts, strict=True)
        beyond = TailIndicators(columns, signs, places, name="tails")(inputs)
        jump = keras.layers.Dense(1, use_bias=False, name="jumps")
        hidden = keras.layers.Add(name="logit")([hidden, jump(beyond)])
        jump.set_weights([np.array(steps, dtype=np.float32)[:, None]])
    probability = keras.layers.Activation("sigmoid", name="sigmoid")(hidden)
    floor = config.label_noise
    return keras.Model(inputs, keras.layers.Rescaling(1 - 2 * floor, floor, name="probability")(probability))


def describe(preprocessor: Preprocessor, found: Survey, config: Config) -> tuple[str, ...]:
    """Say in sentences which features the network does not listen to, and which tails it jumps at."""
    names = [preprocessor.names[group[0]].split(" is ")[0] for group in found.groups]
    least = min(config.keep_columns, np.sort(found.weights)[-2:][0])
    unheard = [name for name, weight in zip(names, found.weights, strict=True) if weight < least]
    tails = [(preprocessor.names[tail.column], _place(tail, preprocessor)) for tail in found.all_tails]
    ignored = [name for name in unheard if name not in dict(tails)]
    notes = []
    if ignored:
        notes.append(f"The network does not listen to {', '.join(ignored)}: shuffling them costs it nothing.")
    for name, place in tails:
        if name in unheard:
            notes.append(f"Of {name}, the network hears only whether it is {place}: such customers are unlike others.")
        else:
            notes.append(f"Customers with {name} {place} are a group of their own to the network.")
    return tuple(notes)


def _place(tail: Tail, preprocessor: Preprocessor) -> str:
    cut = float(np.median(tail.cuts)) * preprocessor.scale[tail.column] + preprocessor.center[tail.column]
    about = f"{cut:,.0f}" if abs(cut) >= 1000 else f"{cut:.4g}"
    return f"{'below' if tail.sign > 0 else 'above'} about {about}"
