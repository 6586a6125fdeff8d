"""How much each block, neuron and head does, judged on calibration batches.

B batch, T tokens, D width of the stream between blocks, F inputs of a linear layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.method import Progress
from tiku.methods.prune._calibration import Batch
from tiku.methods.prune._layout import Blocks

if TYPE_CHECKING:
    import torch

__all__ = ["block_influence", "bypassed", "contribution", "gated", "loss", "run", "taylor", "watched"]


def block_influence(module: Any, blocks: Blocks, batches: Sequence[Batch], progress: Progress) -> list[float]:
    """1 - cosine between a block's input and output, averaged over tokens (Men et al. 2024, ShortGPT)."""
    import torch

    sums, tokens = torch.zeros(len(blocks), dtype=torch.float64), 0
    for done, batch in enumerate(batches):
        tokens += int(batch.mask_BT.sum())

        def note(i: int, before_BTD: torch.Tensor, after_BTD: torch.Tensor, batch: Batch = batch) -> None:
            cosine_BT = torch.cosine_similarity(before_BTD, after_BTD, dim=-1)
            sums[i] += (1.0 - cosine_BT)[batch.mask_BT].double().sum()

        with watched(blocks, note), torch.inference_mode():
            run(module, batch)
        progress(done + 1, len(batches), "influence of blocks")
    return (sums / max(1, tokens)).tolist()


def contribution(
    module: Any, layers: Mapping[Any, Any], units: int, batches: Sequence[Batch], progress: Progress
) -> dict[Any, torch.Tensor]:
    """Per unit of each linear layer's input: norms of the activations times norms of the columns.

    Wanda's score (Sun et al. 2024) of whole columns: how long their part of the output is. A unit is
    one column, or the neighbouring columns of a group of heads.
    """
    import torch

    squares = {key: torch.zeros(layer.in_features, dtype=torch.float64) for key, layer in layers.items()}
    for done, batch in enumerate(batches):

        def note(key: Any, a_BTF: torch.Tensor, batch: Batch = batch) -> torch.Tensor:
            real = a_BTF[batch.mask_BT] if a_BTF.ndim == 3 else a_BTF  # a pooler reads one token per text
            squares[key] += real.double().square().sum(0)
            return a_BTF

        with _intercepted(layers, note), torch.inference_mode():
            run(module, batch)
        progress(done + 1, len(batches), "activations")
    norms = {key: layer.weight.detach().double().square().sum(0) for key, layer in layers.items()}
    return {key: (squares[key] * norms[key]).reshape(units, -1).sum(1).sqrt() for key in layers}


def taylor(
    module: Any, layers: Mapping[Any, Any], units: int, batches: Sequence[Batch], progress: Progress
) -> dict[Any, torch.Tensor]:
    """Per unit: |first-order change of the loss| when it is silenced, summed over batches.

    The gradient of a gate that multiplies the activation is the sum over tokens of activation times
    its gradient (Molchanov et al. 2019; Michel et al. 2019).
    """
    import torch

    scores = {key: torch.zeros(units, dtype=torch.float64) for key in layers}
    for done, batch in enumerate(batches):
        gates = {key: torch.ones(units, requires_grad=True) for key in layers}
        wide = {key: gate.repeat_interleave(layers[key].in_features // units) for key, gate in gates.items()}
        with gated(layers, wide), torch.enable_grad():
            slopes = torch.autograd.grad(loss(run(module, batch), batch), list(gates.values()))
        for key, slope in zip(gates, slopes, strict=True):
            scores[key] += slope.double().abs()
        progress(done + 1, len(batches), "first-order importance")
    return scores


@contextlib.contextmanager
def gated(layers: Mapping[Any, Any], gates: Mapping[Any, torch.Tensor]) -> Iterator[None]:
    """The inputs of the linear layers are multiplied by their gates."""
    with _intercepted(layers, lambda key, a: a * gates[key] if key in gates else a):
        yield


@contextlib.contextmanager
def bypassed(blocks: Blocks, kept: Sequence[int]) -> Iterator[None]:
    """All other blocks pass on what they were given."""
    with watched(blocks, lambda i, before, after: after if i in kept else before):
        yield


@contextlib.contextmanager
def watched(blocks: Blocks, look: Callable[[int, torch.Tensor, torch.Tensor], Any]) -> Iterator[None]:
    """`look(i, before, after)` sees what enters and leaves block i; what it returns takes its place."""

    def hook(i: int) -> Callable[..., Any]:
        def after(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            before = args[0] if args else kwargs["hidden_states"]
            changed = look(i, before, output[0] if isinstance(output, tuple) else output)
            if changed is None:
                return output
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return after

    handles = [b.register_forward_hook(hook(i), with_kwargs=True) for i, b in enumerate(blocks.blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _intercepted(layers: Mapping[Any, Any], change: Callable[[Any, Any], Any]) -> Iterator[None]:
    def hook(key: Any) -> Callable[..., Any]:
        return lambda layer, args: (change(key, args[0]), *args[1:])

    handles = [layer.register_forward_pre_hook(hook(key)) for key, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run(module: Any, batch: Batch) -> torch.Tensor:
    """The logits of one batch; nothing is kept for a continuation."""
    extra = {"use_cache": False} if hasattr(module, "generate") else {}
    logits: torch.Tensor = module(**batch.inputs, **extra).logits
    return logits


def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy with the next token, with the class, or with the model's own answer."""
    from torch.nn.functional import cross_entropy

    if logits.ndim == 3:
        real = batch.mask_BT[:, 1:]
        return cross_entropy(logits[:, :-1][real], batch.inputs["input_ids"][:, 1:][real])
    targets = batch.targets_B if batch.targets_B is not None else logits.argmax(-1)
    return cross_entropy(logits, targets)
