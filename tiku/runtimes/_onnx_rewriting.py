"""Rewriting a traced decoder's graph: what ONNX Runtime would not fuse by itself when it opens the file.

Every rule looks for one exact pattern and leaves alone what differs; the export is compared with its module
afterwards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

__all__ = ["FUSED", "rewrite"]

_SWAP = [0, 2, 1, 3]
_FLAT = ("MatMul", "MatMulNBits", "RotaryEmbedding", "GroupQueryAttention")  # (B, T, outputs)
FUSED = ("GroupQueryAttention", "RotaryEmbedding", "SimplifiedLayerNormalization")


class _Graph:
    """A graph's nodes by what they make; renamings are done at the end."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.makers = {output: node for node in graph.node for output in node.output if output}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self._outputs = {output.name for output in graph.output}
        self._renamed: dict[str, str] = {}

    def maker(self, name: str, kind: str) -> Any | None:
        """The node of that kind which makes `name`."""
        node = self.makers.get(self.resolve(name))
        return node if node is not None and node.op_type == kind else None

    def resolve(self, name: str) -> str:
        while name in self._renamed:
            name = self._renamed[name]
        return name

    def use_instead(self, name: str, other: str) -> None:
        """Whoever reads `name` reads `other`."""
        if name not in self._outputs and self.resolve(other) != name:
            self._renamed[name] = other

    def constant(self, name: str) -> list[int] | None:
        """The integers that `name` always holds."""
        from onnx import numpy_helper

        while (node := self.maker(name, "Unsqueeze")) is not None:
            name = node.input[0]
        node = self.maker(name, "Constant")
        tensor = node.attribute[0].t if node is not None else self.weights.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor).reshape(-1).tolist()

    def finish(self) -> None:
        """Write the renamings down and drop what nobody reads."""
        for node in self.graph.node:
            for at, name in enumerate(node.input):
                if name in self._renamed:
                    node.input[at] = self.resolve(name)
        _drop_unread(self.graph)


def rewrite(model: Any) -> None:
    """Apply every rule, in place."""
    for rule in (_pass_identities, _standard_norms, _cancel_transpositions, _cancel_reshapes, _join_products):
        graph = _Graph(model.graph)
        rule(graph)
        graph.finish()


def _pass_identities(graph: _Graph) -> None:
    """The tracer shares equal weights (biases of zeros) through them."""
    for node in graph.graph.node:
        if node.op_type == "Identity":
            graph.use_instead(node.output[0], node.input[0])


def _standard_norms(graph: _Graph) -> None:
    for node in graph.graph.node:
        if node.op_type == "SimplifiedLayerNormalization":
            node.domain = ""


def _cancel_transpositions(graph: _Graph) -> None:
    """Heads before tokens, and back."""
    for node in graph.graph.node:
        if node.op_type != "Transpose" or _ints(node, "perm") != _SWAP:
            continue
        before = graph.maker(node.input[0], "Transpose")
        if before is not None and _ints(before, "perm") == _SWAP:
            graph.use_instead(node.output[0], before.input[0])


def _cancel_reshapes(graph: _Graph) -> None:
    """(B, T, H * D) parted into heads, and merged again."""
    for node in graph.graph.node:
        if node.op_type != "Reshape" or not _merges(graph, node.input[1]):
            continue
        before = graph.maker(node.input[0], "Reshape")
        if before is not None and _is_flat(graph, before.input[0]) and _parts(graph, before.input[1]):
            graph.use_instead(node.output[0], before.input[0])


def _is_flat(graph: _Graph, name: str) -> bool:
    """Whether it has the axes B, T and outputs."""
    node = graph.makers.get(graph.resolve(name))
    if node is not None and node.op_type == "Add":  # a bias
        sides = [side for side in node.input if side not in graph.weights]
        node = graph.makers.get(graph.resolve(sides[0])) if len(sides) == 1 else None
    return node is not None and node.op_type in _FLAT


def _merges(graph: _Graph, shape: str) -> bool:
    return _last_sizes(graph, shape, 3) == [-1]


def _parts(graph: _Graph, shape: str) -> bool:
    return _last_sizes(graph, shape, 4) is not None


def _last_sizes(graph: _Graph, shape: str, axes: int) -> list[int] | None:
    """The sizes after B and T of a shape with that many axes; None where it has others."""
    fixed = graph.constant(shape)
    if fixed is not None:
        return fixed[2:] if len(fixed) == axes and fixed[:2] == [0, 0] else None
    made = graph.maker(shape, "Concat")
    if made is None or len(made.input) != axes:
        return None
    sizes = [graph.constant(name) for name in made.input]
    leading, last = sizes[:2], sizes[2:]
    if any(leading) or not all(size is not None and len(size) == 1 for size in last):
        return None  # B and T are not known before the graph runs
    return [size[0] for size in last if size]


def _join_products(graph: _Graph) -> None:
    """Products of one input with several weights become one product, cut apart afterwards. Not those with
    more outputs than inputs: cutting them takes as long as what is saved, and longer for many tokens."""
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for node in graph.graph.node:
        if (key := _product_key(graph, node)) is not None:
            groups[key].append(node)
    for number, nodes in enumerate(nodes for nodes in groups.values() if len(nodes) > 1):
        _join(graph, nodes, f"joined.{number}")


def _product_key(graph: _Graph, node: Any) -> tuple[Any, ...] | None:
    """What products must share to be joined; None for those that are left alone."""
    weights = list(node.input[1:])
    own = weights and all(name in graph.weights and graph.uses[name] == 1 for name in weights)
    if not own or node.op_type not in ("MatMul", "MatMulNBits") or _widens(graph, node):
        return None
    numbers = sorted((a.name, a.i) for a in node.attribute if a.name != "N")
    return (node.input[0], node.op_type, len(weights), *numbers)


def _widens(graph: _Graph, node: Any) -> bool:
    sizes = {a.name: a.i for a in node.attribute}
    inputs, outputs = (sizes["K"], sizes["N"]) if sizes else graph.weights[node.input[1]].dims
    return bool(outputs > inputs)


def _join(graph: _Graph, nodes: Sequence[Any], name: str) -> None:
    import numpy as np
    from onnx import helper, numpy_helper

    first = nodes[0]
    along = 1 if first.op_type == "MatMul" else 0
    widths: list[int] = []
    inputs: list[str] = []
    for at in range(1, len(first.input)):
        parts = [numpy_helper.to_array(graph.weights[node.input[at]]) for node in nodes]
        widths = widths or [part.shape[along] for part in parts]
        inputs.append(f"{name}.{first.input[at]}")
        graph.graph.initializer.append(numpy_helper.from_array(np.concatenate(parts, axis=along), inputs[-1]))
    sizes = numpy_helper.from_array(np.array(widths, dtype=np.int64), f"{name}.sizes")
    graph.graph.initializer.append(sizes)
    product = helper.make_node(
        first.op_type, [first.input[0], *inputs], [f"{name}.all"], name=name, domain=first.domain
    )
    product.attribute.extend(first.attribute)
    for attribute in product.attribute:
        if attribute.name == "N":
            attribute.i = sum(widths)
    outputs = [node.output[0] for node in nodes]
    cut = helper.make_node("Split", [product.output[0], sizes.name], outputs, name=f"{name}.cut", axis=-1)
    place = min(_place(graph.graph, node) for node in nodes)
    for node in nodes:
        graph.graph.node.remove(node)
    graph.graph.node.insert(place, cut)
    graph.graph.node.insert(place, product)


def _ints(node: Any, name: str) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), [])


def _place(graph: Any, node: Any) -> int:
    return next(at for at, other in enumerate(graph.node) if other is node)


def _drop_unread(graph: Any) -> None:
    """Nodes and weights that no output needs. Nodes are in the order of their running."""
    needed = {output.name for output in graph.output}  # an input left out has the name ""
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(filter(None, node.input))
            kept.append(node)
    _set(graph.node, kept[::-1])
    _set(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def _set(field: Any, values: list[Any]) -> None:
    values = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(values)
