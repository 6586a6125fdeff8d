"""Nothing beyond what a classifier reads: the choice of the first position moves towards a model's inputs.

A head that reads one position of the last layer leaves all others of that layer computed for nothing. An
operator that treats positions one by one gives the same numbers for the first when it is fed the first alone;
so the choice moves up, operator by operator, until one mixes positions. Of an encoder's last layer that
leaves the keys and values of all positions, and the rest for one.
"""

from __future__ import annotations

from math import prod
from typing import Any

__all__ = ["read_first_only"]

# elementwise, with NumPy's broadcasting
_ONE_BY_ONE = frozenset({
    "Abs", "Add", "Clamp", "Convert", "Divide", "Elu", "Erf", "Exp", "FakeQuantize", "Gelu", "HSigmoid",
    "HSwish", "Log", "Maximum", "Minimum", "Mish", "Multiply", "Negative", "Power", "Relu", "Select",
    "Sigmoid", "SoftPlus", "Sqrt", "SquaredDifference", "Subtract", "Swish", "Tanh",
})  # fmt: skip
_ALONG_AXES = frozenset({"MVN", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})

Wanted = dict[tuple[str, int], int]  # the axis on which an operator's input is needed at its first place only


def read_first_only(model: Any) -> int:
    """Feed the first position alone to every operator of which nothing else is read, in place; how many.

    Exact: what remains multiplies and adds the same numbers.
    """
    nodes = list(model.get_ordered_ops())
    wanted = {(node.get_name(), 0): axis for node in nodes if (axis := _chosen_axis(node)) is not None}
    alone: set[str] = set()
    for node in reversed(nodes):
        axis = _only_axis(node, wanted)
        operands = None if axis is None else _operands(node, axis)
        if operands is not None:
            alone.add(node.get_name())
            wanted.update({(node.get_name(), place): own for place, own in operands.items()})
    _cut(nodes, alone, wanted)
    model.validate_nodes_and_infer_types()
    return len(alone)


def _cut(nodes: list[Any], alone: set[str], wanted: Wanted) -> None:
    """Put the choice where an operator that works on one position reads from one that works on all."""
    cuts: dict[tuple[str, int, int], Any] = {}
    for node in nodes:
        for place in range(node.get_input_size() if node.get_name() in alone else 0):
            source, axis = node.input_value(place), wanted.get((node.get_name(), place))
            if axis is None or source.get_node().get_name() in alone:
                continue
            key = (source.get_node().get_name(), source.get_index(), axis)
            if key not in cuts:
                cuts[key] = _first(source, axis)
            node.input(place).replace_source_output(cuts[key].output(0))


def _first(source: Any, axis: int) -> Any:
    import numpy as np
    import openvino.opset13 as ops

    first, along = (ops.constant(np.array([number], dtype=np.int64)) for number in (0, axis))
    return ops.gather(source, first, along)  # a slice's axis would not be known to hold one place


def _chosen_axis(node: Any) -> int | None:
    """The axis of which this node takes the first place; none: it does something else. An axis of 0 would
    be the texts of a batch."""
    kind = node.get_type_name()
    if kind == "Gather" and not node.get_attributes().get("batch_dims"):
        places, axes = _numbers(node, 1), _numbers(node, 2)
        chosen = axes if places == [0] else None
    elif kind == "Slice" and node.get_input_size() == 5:
        axes, bounds = _numbers(node, 4), [_numbers(node, place) for place in (1, 2, 3)]
        chosen = axes if bounds == [[0], [1], [1]] else None
    else:
        return None
    rank = _rank(node.input_value(0))
    if not chosen or len(chosen) != 1 or not rank:
        return None
    return chosen[0] % rank or None


def _only_axis(node: Any, wanted: Wanted) -> int | None:
    """The axis of the node's output on which all that read it want the first place alone."""
    if node.get_output_size() != 1 or not _rank(node.output(0)):
        return None
    axes = {
        wanted.get((use.get_node().get_name(), use.get_index())) for use in node.output(0).get_target_inputs()
    }
    return axes.pop() if len(axes) == 1 else None


def _operands(node: Any, axis: int) -> dict[int, int] | None:
    """By input, the axis on which its first place is enough for the first place of the output's axis. None:
    the operator needs more, or is not known here."""
    kind = node.get_type_name()
    if kind in _ONE_BY_ONE:
        return _broadcast(node, axis)
    if kind in _ALONG_AXES:
        return _along(node, axis)
    if kind in ("Softmax", "LogSoftmax"):
        return {0: axis} if node.get_attributes()["axis"] % _rank(node.output(0)) != axis else None
    if kind == "Transpose":
        order = _numbers(node, 1)
        return {0: order[axis]} if order else None
    if kind == "Reshape":
        return _reshaped(node, axis)
    if kind == "MatMul":
        return _product(node, axis)
    if kind == "ScaledDotProductAttention":
        return _attention(node, axis)
    return None


def _broadcast(node: Any, axis: int) -> dict[int, int] | None:
    """The first place of a broadcast axis is the first place of every operand that has the axis."""
    if node.get_attributes().get("auto_broadcast", "numpy") != "numpy":
        return None
    if any(value.get_partial_shape().rank.is_dynamic for value in node.input_values()):
        return None
    own = _rank(node.output(0))
    shifted = {place: axis - own + _rank(value) for place, value in enumerate(node.input_values())}
    return {place: at for place, at in shifted.items() if at >= 0 and not _is_one(node, place, at)}


def _along(node: Any, axis: int) -> dict[int, int] | None:
    """Norms and sums along other axes, which stay where they are."""
    axes, rank = _numbers(node, 1), _rank(node.input_value(0))
    stays = rank and rank == _rank(node.output(0))
    return {0: axis} if axes and stays and all(one % rank != axis for one in axes) else None


def _reshaped(node: Any, axis: int) -> dict[int, int] | None:
    """Where the axes before this one are copied and those after it hold as many numbers as before."""
    pattern, before, after = (
        _numbers(node, 1), node.get_input_partial_shape(0), node.get_output_partial_shape(0)
    )  # fmt: skip
    if not pattern or not node.get_attributes()["special_zero"] or before.rank.is_dynamic:
        return None
    inner = [list(shape)[axis + 1 :] for shape in (before, after)]
    copied = not any(pattern[:axis]) and pattern[axis] in (0, -1) and len(before) > axis
    if not copied or any(size.is_dynamic for sizes in inner for size in sizes):
        return None
    held = [prod(size.get_length() for size in sizes) for sizes in inner]
    return {0: axis} if held[0] == held[1] else None


def _product(node: Any, axis: int) -> dict[int, int] | None:
    """A row of a product is that row of its first operand times the second."""
    left = _rank(node.input_value(0))
    if left < 2 or axis != _rank(node.output(0)) - 2:
        return None
    return {0: left - (1 if node.get_attributes()["transpose_a"] else 2)}


def _attention(node: Any, axis: int) -> dict[int, int] | None:
    """One query's attention over all keys, under its own row of the mask. A causal one counts positions."""
    if node.get_attributes()["causal"] or axis != _rank(node.output(0)) - 2:
        return None
    found = {0: axis}
    if node.get_input_size() > 3:
        rank = _rank(node.input_value(3))
        if node.get_input_partial_shape(3).rank.is_dynamic:
            return None
        if rank >= 2 and not _is_one(node, 3, rank - 2):
            found[3] = rank - 2
    return found if _rank(node.input_value(0)) == _rank(node.output(0)) else None


def _numbers(node: Any, place: int) -> list[int] | None:
    """The whole numbers of a constant input."""
    source = node.input_value(place).get_node()
    if source.get_type_name() != "Constant":
        return None
    return [int(number) for number in source.get_data().reshape(-1)]


def _rank(value: Any) -> int:
    """Number of axes; 0 where it is not known."""
    rank = value.get_partial_shape().rank
    return 0 if rank.is_dynamic else int(rank.get_length())


def _is_one(node: Any, place: int, axis: int) -> bool:
    size = list(node.get_input_partial_shape(place))[axis]
    return bool(size.is_static and size.get_length() == 1)
