"""A traced module as an ONNX file: each weight once, under the module's own name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Traced", "load_graph", "save_graph", "write_graph"]

OPSET = 17
_WEIGHTS = "model.onnx.data"  # beside the graph, where both together are more than one file may hold
_ONE_FILE = 2**31 - 2**24  # bytes; protobuf ends at 2 GiB


@dataclass(frozen=True)
class Traced:
    """What is traced: `module(*example)`. `axes` names the free sizes of inputs and outputs."""

    module: Any
    example: tuple[Any, ...]
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: Mapping[str, Mapping[int, str]]


def write_graph(traced: Traced, path: Path, *, untie: bool = False) -> None:
    """Trace and write. `torch.onnx.export` by itself would store a tied weight twice, once transposed,
    and a large model in one file per weight: here it writes the graph alone.

    `untie` stores a weight that is multiplied and looked up twice, so that the product can be quantised.
    """
    import onnx
    import torch

    torch.onnx.export(
        traced.module,
        traced.example,
        str(path),
        input_names=list(traced.inputs),
        output_names=list(traced.outputs),
        dynamic_axes={name: dict(axes) for name, axes in traced.axes.items()},
        opset_version=OPSET,
        dynamo=False,
        export_params=False,
        do_constant_folding=False,
        custom_opsets={"com.microsoft": 1},
    )
    model = onnx.load(str(path))
    _attach(model.graph, traced, untie)
    save_graph(model, path)


def load_graph(path: Path) -> Any:
    """The model with all its weights."""
    import onnx

    return onnx.load(str(path))


def save_graph(model: Any, path: Path) -> None:
    """Write over `path`, in one file where that is possible."""
    import onnx

    path.with_name(_WEIGHTS).unlink(missing_ok=True)
    large = weights_bytes(model) > _ONE_FILE
    onnx.save_model(model, str(path), save_as_external_data=large, location=_WEIGHTS if large else None)


def weights_bytes(model: Any) -> int:
    """Bytes of the weights in memory."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _attach(graph: Any, traced: Traced, untie: bool) -> None:
    """Turn the inputs that are weights into initializers."""
    weights = _by_name(traced.module)
    given = [node for node in graph.input if node.name not in traced.inputs]
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    same = {n.name: first.setdefault(_place(weights[n.name]), n.name) for n in given}
    _rename(graph, same)
    turned = _turn(graph, set(same.values()), untie)
    for node in given:
        graph.input.remove(node)
        if same[node.name] == node.name:
            graph.initializer.extend(_initializers(node.name, weights[node.name], turned.get(node.name)))


def _by_name(module: Any) -> dict[str, Any]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _place(tensor: Any) -> tuple[int, tuple[int, ...]]:
    """Where the tensor lies: two names of one weight agree in it."""
    return (tensor.data_ptr() or id(tensor)), tuple(tensor.shape)


def _turn(graph: Any, weights: set[str], untie: bool) -> dict[str, tuple[str, bool]]:
    """Take transpositions of weights out of the graph; for each weight turned, the name of its turned form
    and whether the unturned one is used too. A tied weight keeps its transposition unless it is to be
    untied."""
    uses = Counter(name for node in graph.node for name in node.input if name in weights)
    turned: dict[str, tuple[str, bool]] = {}
    renamed: dict[str, str] = {}
    for node in [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights]:
        name = node.input[0]
        alone = uses[name] == 1
        if list(node.attribute[0].ints) != [1, 0] or not (alone or untie):
            continue
        turned[name] = (f"{name}.T", not alone)
        renamed[node.output[0]] = f"{name}.T"
        graph.node.remove(node)
    _rename(graph, renamed)
    return turned


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for at, name in enumerate(node.input):
            if names.get(name, name) != name:
                node.input[at] = names[name]


def _initializers(name: str, weight: Any, turned: tuple[str, bool] | None) -> list[Any]:
    from onnx import numpy_helper

    array = weight.detach().numpy()
    if turned is None:
        return [numpy_helper.from_array(array, name)]
    other = numpy_helper.from_array(array.T.copy(), turned[0])
    return [other, numpy_helper.from_array(array, name)] if turned[1] else [other]
