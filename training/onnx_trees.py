"""Oblivious trees as ONNX operations that ONNX Runtime evaluates quickly.

A Gather per comparison, as Keras evaluates them, copies numbers one by one. Here each column is compared once for all
trees: a search tree finds the bin that a value falls into between the sorted borders of its column. A table says for
each bin which comparisons of which trees hold, as bits of whole numbers that several trees share; the sum of its rows
over the columns holds the leaf of each tree. All numbers are whole and below 2^24, so float32 is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.onnx_graph import Graph

TREES_TOGETHER = 2048
"""Trees that share a table, at most: its size grows with trees times borders."""
GROUP_ROWS = 64
"""Columns with few borders share rows of the table, one for each combination of their bins, up to so many."""
WORD_BITS = 24
"""Bits of a whole number that float32 holds exactly."""

Trees = tuple["NDArray[np.int32]", "NDArray[np.float32]", "NDArray[np.float32]"]


def add_trees(graph: Graph, matrix: str, trees: Trees, width: int) -> str:
    """Add the sum of oblivious trees to a graph.

    Parameters
    ----------
    graph : Graph
    matrix : str
        Float32 of shape (n, width).
    trees : (columns, borders, leaves)
        The weights of `churn.layers.ObliviousTrees`.
    width : int

    Returns
    -------
    str
        Name of the sum, float32 of shape (n, 1).
    """
    columns, borders, leaves = trees
    parts = []
    for start in range(0, len(leaves), TREES_TOGETHER):
        block = slice(start, start + TREES_TOGETHER)
        parts.append(_add_block(graph, matrix, (columns[:, block], borders[:, block], leaves[block]), width))
    total = parts[0]
    for part in parts[1:]:
        total = graph.add("Add", total, part)
    return total


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns that share rows of the table: row = first + the sum of each column's bin times its stride."""

    first: int
    rows: int
    strides: dict[int, int]


def _add_block(graph: Graph, matrix: str, trees: Trees, width: int) -> str:
    columns, borders, leaves = trees
    depth, count = columns.shape
    finite = np.isfinite(borders)
    found = {int(column): np.unique(borders[finite & (columns == column)]) for column in np.unique(columns[finite])}
    if not found:  # no tree compares anything
        zeros, total = np.zeros((width, 1), np.float32), leaves[:, 0].sum(keepdims=True)
        return graph.add("Gemm", matrix, graph.constant(zeros), graph.constant(total))
    groups = _group_columns(found)
    a_word = WORD_BITS // depth
    words = -(-count // a_word)
    table = _fill_table(groups, found, columns, borders, words)
    row = graph.add("Cast", _add_search(graph, matrix, groups, found), to=graph.INT32)
    rows = graph.add("Gather", graph.constant(table), row, axis=0)
    summed = graph.add("ReduceSum", rows, graph.constant(np.array([1])), keepdims=0)
    word = graph.add("Reshape", graph.add("Cast", summed, to=graph.UINT32), graph.constant(np.array([-1, 1, words])))
    shifts = (depth * np.arange(a_word, dtype=np.uint32))[:, None]
    shifted = graph.add("BitShift", word, graph.constant(shifts), direction="RIGHT")
    leaf = graph.add("BitwiseAnd", shifted, graph.constant(np.array((1 << depth) - 1, np.uint32)))
    leaf = graph.add("Reshape", graph.add("Cast", leaf, to=graph.INT32), graph.constant(np.array([-1, a_word * words])))
    # Trees that fill the last word have leaves of 0.
    values = np.zeros((1 << depth, a_word * words), np.float32)
    values[:, :count] = leaves.T
    added = graph.add("GatherElements", graph.constant(values), leaf, axis=0)
    return graph.add("ReduceSum", added, graph.constant(np.array([1])), keepdims=1)


def _group_columns(found: dict[int, NDArray[np.float32]]) -> list[_Group]:
    groups: list[_Group] = []
    for column, borders in sorted(found.items(), key=lambda item: len(item[1])):
        bins, last = len(borders) + 1, groups[-1] if groups else None
        if last is not None and last.rows * bins <= GROUP_ROWS:
            groups[-1] = _Group(last.first, last.rows * bins, last.strides | {column: last.rows})
        else:
            groups.append(_Group(last.first + last.rows if last else 0, bins, {column: 1}))
    return groups


def _fill_table(
    groups: list[_Group],
    found: dict[int, NDArray[np.float32]],
    columns: NDArray[np.int32],
    borders: NDArray[np.float32],
    words: int,
) -> NDArray[np.float32]:
    """Return for each row the words of bits: of tree t, level l, bit depth · (t // words) + l of word t % words."""
    depth = len(columns)
    table = np.zeros((words, groups[-1].first + groups[-1].rows), np.float32)
    for group in groups:
        for column, stride in group.strides.items():
            levels, trees = np.nonzero(np.isfinite(borders) & (columns == column))
            bins = np.arange(group.rows) // stride % (len(found[column]) + 1)
            least = np.searchsorted(found[column], borders[levels, trees])
            bit = 2.0 ** (depth * (trees // words) + levels)
            added = (bins > least[:, None]) * bit[:, None].astype(np.float32)
            np.add.at(table[:, group.first : group.first + group.rows], trees % words, added)
    return np.ascontiguousarray(table.T)


def _add_search(graph: Graph, matrix: str, groups: list[_Group], found: dict[int, NDArray[np.float32]]) -> str:
    """Add a binary search tree for each column; together they give the row of each group, shape (n, groups)."""
    nodes: dict[str, list[Any]] = {name: [] for name in _NODE_LISTS}
    leaves: dict[str, list[Any]] = {name: [] for name in _LEAF_LISTS}
    pairs = [(place, column, stride) for place, group in enumerate(groups) for column, stride in group.strides.items()]
    for tree, (place, column, stride) in enumerate(pairs):
        for node, (border, above, below) in enumerate(_search_tree(found[column])):
            if above is None:
                _append(nodes, tree, node, 0, "LEAF", 0.0, 0, 0)
                _append(leaves, tree, node, place, float(stride * below))
            else:
                # As Keras compares: above, strictly.
                _append(nodes, tree, node, column, "BRANCH_GT", border, above, below)
    return graph.add(
        "TreeEnsembleRegressor", matrix, domain="ai.onnx.ml", n_targets=len(groups), aggregate_function="SUM",
        post_transform="NONE", base_values=[float(group.first) for group in groups], **nodes, **leaves,
    )  # fmt: skip


_NODE_LISTS = (
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids",
    "nodes_falsenodeids",
)  # fmt: skip
_LEAF_LISTS = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _append(lists: dict[str, list[Any]], *values: Any) -> None:  # noqa: ANN401  numbers and a mode
    for one, value in zip(lists.values(), values, strict=True):
        one.append(value)


def _search_tree(borders: NDArray[np.float32]) -> list[tuple[float, int | None, int]]:
    """Return the nodes of a binary search: (border, node if above, node if not), or for a leaf (0, None, bin)."""
    nodes: list[tuple[float, int | None, int]] = []

    def build(first: int, last: int) -> int:
        place = len(nodes)
        nodes.append((0.0, None, first))
        if first < last:
            middle = (first + last) // 2
            below, above = build(first, middle), build(middle + 1, last)
            nodes[place] = (float(borders[middle]), above, below)
        return place

    build(0, len(borders))
    return nodes
