"""Keeps the published network within a budget of microseconds: a student takes the place of a stack that costs more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from churn.layers import ObliviousTrees
from training.default.assemble import TAILS, Families, assemble
from training.default.folds import losses_of, mean_and_error
from training.default.student import SHAPES, Shape, Student, count_weights, distil, find_inputs
from training.export import load_onnx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.context import TrainingContext
    from training.default.inputs import Inputs
    from training.default.stack import Stack
    from training.default.student import Shape
    from training.default.views import Views

    Floats = NDArray[np.float32]

LEAST_DIFFERENCE = 0.001
"""Nats by which a student that follows the stack may be worse out of fold."""
SHARE_OF_ERROR = 0.1
"""It may also be worse by this share of the standard error of the stack's loss, if that is more."""
JUDGED_FOLDS = 2
"""Folds in which a size is tried before a larger one."""
STUDENT = "student"
SMOOTH = "silu"
"""The activation that takes exponentials."""
CALL, CALL_OF_TREES, CALL_OF_EXPONENTIALS = 8.0, 5.0, 1.0
"""Microseconds of one row alone, whatever the size of the network: of all operations, and of those of some kinds."""
COMPARISONS, WEIGHTS, EXPONENTIALS = 500, 3_300, 300
"""Comparisons of trees, weights of layers, and exponentials of units, that take another microsecond."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A student that is published instead of the stack.

    Attributes
    ----------
    model : keras.Model
    logits : ndarray of float64, shape (n,)
        Of each row by a student of the members that were not fitted on it, and which did not see it either.
    losses : ndarray of float64, shape (n,)
        Of these logits, in nats.
    members : tuple of keras.Model
        Those students, one of each fold.
    details : dict
        For the manifest: sizes, times, and both losses out of fold.
    note, warning : str
        One of them is empty: the note if it follows the stack within the budget, the warning if not.
    """

    model: keras.Model
    logits: NDArray[np.float64]
    losses: NDArray[np.float64]
    members: tuple[keras.Model, ...]
    details: dict[str, Any]
    note: str
    warning: str


def fit_to_budget(
    model: keras.Model,
    families: Families,
    members: list[Families],
    stack: Stack,
    views: Views,
    kept: NDArray[np.bool_],
    context: TrainingContext,
) -> Replacement | None:
    """Return the smallest student within the budget that follows the stack; None if the stack is within the budget.

    Sizes are tried in their order, as far as the budget allows, each on the first folds. If none follows the stack, it
    is the one that comes nearest; if none is within the budget, the smallest. That one is then fitted for all folds.

    Parameters
    ----------
    model : keras.Model
        The stack.
    families : Families
    members : list of Families
        Of each fold alone.
    stack : Stack
    views : Views
    kept : ndarray of bool, shape (features,)
        Features that the stack uses.
    context : TrainingContext
        With a budget.
    """
    budget = context.config.budget
    stack_takes = estimate_microseconds(*_count_operations(model))
    if stack_takes <= budget:
        return None
    school = _School(families, members, stack, views, kept, context)
    times = {shape: school.estimate_microseconds(shape) for shape in SHAPES}
    allowed = [shape for shape in SHAPES if times[shape] <= budget] or [SHAPES[0]]
    shape = school.choose(allowed)
    logits = school.teach_folds(shape, range(len(context.folds)))
    student = school.teach_whole(shape, load_onnx(model).predict)
    losses, expected = losses_of(context.labels, logits), losses_of(context.labels, stack.logits)
    difference, error = mean_and_error(losses - expected)
    follows, fits = difference <= allow(expected), times[shape] <= budget
    details = {
        "hidden": list(shape.hidden),
        "activation": shape.activation,
        "budget_microseconds": budget,
        "microseconds": round(times[shape], 2),
        "stack_microseconds": round(stack_takes, 2),
        "log_loss": float(losses.mean()),
        "stack_log_loss": float(expected.mean()),
        "difference": difference,
        "difference_error": error,
        "follows": follows,
    }
    units = " and ".join(map(str, shape.hidden))
    figures = (
        f"its log loss is {losses.mean():.4f} out of fold, that of the stack {expected.mean():.4f} "
        f"(difference {difference:+.4f} ± {error:.4f})"
    )
    said = f"a student of the stack with hidden layers of {units} units, {times[shape]:.0f} µs per row: {figures}."
    reason = f"The stack takes {stack_takes:.0f} µs per row and the budget is {budget:g} µs"
    if follows and fits:
        note, warning = f"{reason}, so the network is {said}", ""
    else:
        what = "no network of this kind follows it within the budget" if fits else "no network is within the budget"
        note, warning = "", f"{reason}; {what}. Published is {said}"
    width = context.matrix.shape[1]
    students = tuple(one.assemble(width) for one in school.list_students(shape))
    return Replacement(student.assemble(width), logits, losses, students, details, note, warning)


def estimate_microseconds(weights: int, comparisons: int = 0, exponentials: int = 0) -> float:
    """Return about how long one row alone takes in ONNX Runtime on one core, in microseconds.

    It is counted, not timed, so that a seed gives the same network on every machine. The constants were fitted to the
    times of networks on a virtual CPU of a current server.

    Parameters
    ----------
    weights : int
        Of all layers but trees.
    comparisons : int
        Of all trees.
    exponentials : int
        Of all hidden units.
    """
    calls = CALL + bool(comparisons) * CALL_OF_TREES + bool(exponentials) * CALL_OF_EXPONENTIALS
    return calls + comparisons / COMPARISONS + weights / WEIGHTS + exponentials / EXPONENTIALS


def _count_operations(model: keras.Model) -> tuple[int, int, int]:
    """Return the weights of all layers but trees, the comparisons of trees, and the exponentials of hidden units."""
    trees = [layer for layer in model.layers if isinstance(layer, ObliviousTrees)]
    layers = [layer for layer in model.layers if layer not in trees]
    # Members side by side: the zeros between their blocks are not multiplied.
    weights = sum(int(np.count_nonzero(weight)) for layer in layers for weight in layer.get_weights())
    smooth = [layer.units for layer in layers if getattr(layer, "activation", None) is keras.activations.silu]
    return weights, sum(layer.trees * layer.depth for layer in trees), sum(smooth)


def allow(losses: NDArray[np.float64]) -> float:
    """Return by how many nats a student may be worse than a stack with these losses and still follows it.

    Parameters
    ----------
    losses : ndarray of float64, shape (n,)
        Of each customer, in nats.
    """
    return max(LEAST_DIFFERENCE, SHARE_OF_ERROR * mean_and_error(losses)[1])


class _School:
    """Students of the stack: of all its members, and of the members of one fold."""

    def __init__(
        self, families: Families, members: list[Families], stack: Stack, views: Views, kept: NDArray[np.bool_],
        context: TrainingContext,
    ) -> None:  # fmt: skip
        self._families, self._members, self._stack = families, members, stack
        self._views, self._kept, self._context = views, kept, context
        # Statistics of labels belong together, so they aren't moved one by one.
        self._moved = views.quantities[views.owners[views.quantities] < 0]
        self._students: dict[tuple[Shape, int], Student] = {}
        self._logits: dict[tuple[Shape, int], NDArray[np.float64]] = {}
        self._whole = views.never_own()
        self._inputs = self._find_inputs(self._whole, views.columns_kept(kept), families)

    def estimate_microseconds(self, shape: Shape) -> float:
        """Return about how long a row alone takes by a student of this shape."""
        exponentials = sum(shape.hidden) if shape.activation == SMOOTH else 0
        return estimate_microseconds(count_weights(self._inputs, shape.hidden), exponentials=exponentials)

    def choose(self, allowed: list[Shape]) -> Shape:
        """Return the first shape that follows the stack on the first folds, or else the one that comes nearest."""
        if len(allowed) == 1:
            return allowed[0]
        folds = range(min(JUDGED_FOLDS, len(self._context.folds)))
        rows = np.concatenate([self._context.folds[fold][1] for fold in folds])
        labels = self._context.labels[rows]
        expected = losses_of(labels, self._stack.logits[rows])
        differences: list[float] = []
        for shape in allowed:
            losses = losses_of(labels, self.teach_folds(shape, folds)[rows])
            differences.append(float((losses - expected).mean()))
            if differences[-1] <= allow(expected):
                return shape
        return allowed[int(np.argmin(differences))]

    def teach_folds(self, shape: Shape, folds: range) -> NDArray[np.float64]:
        """Return logits out of fold, shape (n,); 0 for the rows of other folds."""
        logits = np.zeros(len(self._context.labels))
        for fold in folds:
            held_out = self._context.folds[fold][1]
            if (shape, fold) not in self._logits:
                student = self._teach_fold(shape, fold)
                self._students[shape, fold] = student
                self._logits[shape, fold] = student.predict(self._views.held_out(held_out))
            logits[held_out] = self._logits[shape, fold]
        return logits

    def list_students(self, shape: Shape) -> list[Student]:
        """Return the students of this shape of all folds that were taught, in the order of the folds."""
        folds = range(len(self._context.folds))
        return [self._students[shape, fold] for fold in folds if (shape, fold) in self._students]

    def teach_whole(self, shape: Shape, teacher: Any) -> Student:  # noqa: ANN401  a callable
        """Return a student of the whole stack."""
        seed = self._context.seed
        return distil(teacher, self._whole, self._views.groups, self._moved, self._inputs, shape, seed)

    def _teach_fold(self, shape: Shape, fold: int) -> Student:
        families, views = self._members[fold], self._views
        matrix = views.fitted(fold, self._context.folds[fold][0])
        inputs = self._find_inputs(matrix, views.columns_of(self._kept, fold), families)
        teacher = load_onnx(assemble(families, self._stack.weights, self._stack.bias, matrix.shape[1]))
        seed = self._context.seed + 1 + fold
        return distil(teacher.predict, matrix, views.groups, self._moved, inputs, shape, seed)

    def _find_inputs(self, matrix: Floats, columns: NDArray[np.int64], families: Families) -> Inputs:
        # Tails are searched in all columns, those that nothing else uses too.
        tails = families.tails.times(self._stack.weights.get(TAILS, 0.0))
        seen = np.union1d(columns, tails.columns[0])
        return find_inputs(matrix, self._views.quantities, seen, int(self._kept.sum()), tails)
