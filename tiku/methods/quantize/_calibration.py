"""What the inputs of linear layers look like on calibration texts: one pass gathers it for every method.

Shape letters: B texts, T tokens, I inputs of a layer, n rows (one per token that is no padding).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.method import Progress, silent
from tiku.core.subject import Subject
from tiku.methods.quantize._calibration_texts import CalibrationTexts, batches
from tiku.methods.quantize._targets import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SharedInput", "forward", "shared_inputs", "statistics", "watching"]

_MOST_BYTES = 2 << 30  # of Hessians at a time: with more, the texts are run again
_COLUMNS = 256  # the upper half of X^T X is computed in blocks of so many columns


@dataclass(eq=False)
class SharedInput:
    """Layers that read one and the same tensor, and what was seen of it.

    `hessian_II` is H = 2/n X^T X in float32 (Frantar et al. 2022), `low_I` <= 0, `high_I` >= 0 and
    `mean_abs_I` are per input, `rows` is n. `kept` are evenly spread rows, one of `every` (0: none).
    """

    layers: tuple[Layer, ...]
    rows: int = 0
    hessian_II: Tensor = field(init=False)
    low_I: Tensor = field(init=False)
    high_I: Tensor = field(init=False)
    mean_abs_I: Tensor = field(init=False)
    kept: list[Tensor] = field(init=False)
    every: int = 0

    @property
    def inputs(self) -> int:
        """Width of the tensor."""
        return self.layers[0].inputs

    @property
    def absmax(self) -> Tensor:
        """The largest magnitude of each input, (I,)."""
        return self.high_I.maximum(-self.low_I)

    def start(self, *, hessian: bool = True) -> None:
        """Empty sums. Without `hessian` it stays empty."""
        import torch

        width = self.inputs
        self.rows, self.hessian_II = 0, torch.zeros(width, width if hessian else 0)
        self.low_I, self.high_I, self.mean_abs_I = (torch.zeros(width) for _ in range(3))
        self.kept = []

    def add(self, x_nI: Tensor) -> None:
        """Add rows. Raises `ModelError` when they are not finite."""
        import torch

        if not len(x_nI):
            return
        low_I, high_I = torch.aminmax(x_nI, dim=0)
        self.low_I, self.high_I = self.low_I.minimum(low_I), self.high_I.maximum(high_I)
        if not self.absmax.isfinite().all():
            raise ModelError(
                "the model computes numbers that are not finite on the calibration texts",
                got=f"inputs of {self.layers[0].name}",
                allowed="finite activations",
                next_step="check the weights; use a method without calibration (int4-weight-only, hqq)",
            )
        if self.every:
            self.kept.append(x_nI[-self.rows % self.every :: self.every].clone())
        self.mean_abs_I += x_nI.abs().sum(0)
        self.rows += len(x_nI)
        for start in range(0, self.hessian_II.shape[1], _COLUMNS):
            end = min(start + _COLUMNS, self.inputs)
            self.hessian_II[:end, start:end].addmm_(x_nI[:, :end].T, x_nI[:, start:end])

    def finish(self) -> None:
        """Sums to means, and the lower half of the Hessian from the upper."""
        if self.hessian_II.numel():
            upper = self.hessian_II.triu()
            self.hessian_II = (upper + upper.triu(1).T).mul_(2 / max(1, self.rows))
        self.mean_abs_I = self.mean_abs_I / max(1, self.rows)

    def drop(self) -> None:
        """Free what was gathered."""
        del self.hessian_II, self.low_I, self.high_I, self.mean_abs_I, self.kept


def shared_inputs(subject: Subject, layers: Sequence[Layer], texts: CalibrationTexts) -> list[SharedInput]:
    """Layers grouped by the tensor they read, in the order in which they run; layers that did not run on
    the first text are groups of their own at the end."""
    seen: dict[str, list[Any]] = {}  # holds the tensors, so that no two live ones have one identity

    def note(layer: Layer, x: Tensor) -> None:
        seen.setdefault(layer.name, []).append(x)

    first = CalibrationTexts(sorted(texts.encodings, key=lambda e: len(next(iter(e.values()))))[:1])
    with watching(layers, note):
        for batch in batches(subject, first):
            forward(subject.module, batch)
    by_tensors: dict[tuple[int, ...], list[Layer]] = {}
    named = {layer.name: layer for layer in layers}
    for name, tensors in seen.items():
        by_tensors.setdefault(tuple(id(x) for x in tensors), []).append(named[name])
    silent_ones = [(layer,) for layer in layers if layer.name not in seen]
    return [SharedInput(tuple(group)) for group in (*by_tensors.values(), *silent_ones)]


def statistics(
    subject: Subject,
    layers: Sequence[Layer],
    texts: CalibrationTexts,
    progress: Progress = silent,
    *,
    hessians: bool = True,
    every: int = 0,
) -> Iterator[SharedInput]:
    """Each group of layers with its statistics, which are freed when the next is asked for.

    The texts are run once; more than once only where the Hessians would take more than 2 GiB together,
    and then later runs see what was done to earlier layers in between. `every`: see `SharedInput`.
    """
    groups = shared_inputs(subject, layers, texts)
    for group in groups:
        group.every = every
    parts = list(_parts(groups)) if hessians else [groups]
    rounds = sum(1 for _ in batches(subject, texts)) * len(parts)
    for number, part in enumerate(parts):
        for group in part:
            group.start(hessian=hessians)
        _gather(subject, part, texts, progress, (number * rounds // len(parts), rounds))
        for group in part:
            group.finish()
            yield group
            group.drop()


def _parts(groups: Sequence[SharedInput]) -> Iterator[list[SharedInput]]:
    part: list[SharedInput] = []
    size = 0
    for group in groups:
        own = 4 * group.inputs**2
        if part and size + own > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(group)
        size += own
    if part:
        yield part


def _gather(
    subject: Subject,
    part: Sequence[SharedInput],
    texts: CalibrationTexts,
    progress: Progress,
    place: tuple[int, int],
) -> None:
    """Run the texts once and add up what the first layer of each group reads."""
    by_name = {group.layers[0].name: group for group in part}
    mask: list[Tensor | None] = [None]

    def note(layer: Layer, x: Tensor) -> None:
        by_name[layer.name].add(_rows(x, mask[0]))

    done, whole = place
    with watching([group.layers[0] for group in part], note):
        for batch in batches(subject, texts):
            progress(done, whole, "calibration")
            mask[0] = _mask(batch)
            forward(subject.module, batch)
            done += 1


@contextmanager
def watching(layers: Sequence[Layer], note: Callable[[Layer, Tensor], None]) -> Iterator[None]:
    """`note` is called with each layer's input whenever it runs."""

    def hook(layer: Layer) -> Callable[[Any, tuple[Any, ...]], None]:
        return lambda _, inputs: note(layer, inputs[0])

    handles = [layer.module.register_forward_pre_hook(hook(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward(module: Any, batch: dict[str, Any]) -> Tensor:
    """The logits of a forward pass, without a cache and for as few tokens as the module can do with."""
    import torch

    accepted = inspect.signature(module.forward).parameters
    spare = {"use_cache": False, "logits_to_keep": 1}
    given = {name: value for name, value in spare.items() if name in accepted}
    with torch.inference_mode():
        output = module(**{name: torch.from_numpy(array) for name, array in batch.items()}, **given)
    logits: Tensor = getattr(output, "logits", output)
    return logits


def _mask(batch: dict[str, Any]) -> Tensor | None:
    import torch

    mask = batch.get("attention_mask")
    return None if mask is None or mask.all() else torch.from_numpy(mask).bool()


def _rows(x: Tensor, mask_BT: Tensor | None) -> Tensor:
    """float32 (n, I) without padding; tensors that do not run over the tokens (a pooled one) as they are."""
    flat = x.reshape(-1, x.shape[-1]).float()
    if mask_BT is not None and flat.shape[0] == mask_BT.numel():
        return flat[mask_BT.reshape(-1)]
    return flat
