"""Cutting channels out of the stream between blocks, and the proof that nothing else changed.

RMSNorm over fewer channels is made exact: its weight is multiplied by sqrt(D / D'), its epsilon by D / D'.
LayerNorm cannot be: its mean and variance are those of the channels that stay.

B batch, T tokens, D channels of the stream, D' channels that stay.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.methods.prune._calibration import Batch
from tiku.methods.prune._importance import run
from tiku.methods.prune._layout import sizes_of
from tiku.methods.prune._rebuilding import empty_network, fill, with_fields
from tiku.methods.prune._stream import Channels, Stream, fields_of, find_stream, is_layer_norm, norms_of

if TYPE_CHECKING:
    import torch

__all__ = ["narrow_network"]

_TOLERANCE = 1e-3  # of the largest logit: the same sums in another order

_Places = Mapping[str, Mapping[int, "torch.Tensor"]]  # of each weight: axis to positions that stay


def narrow_network(module: Any, channels: Channels, probe: Batch) -> Any:
    """The network with fewer channels. It must answer `probe` as the whole one in which the others are
    silenced, and its LayerNorms do not count them. Raises `ModelError` where it does not."""
    stream, width = find_stream(module), len(channels.stream)
    fields = fields_of(module, stream, width)
    norms = norms_of(module)
    if not all(map(is_layer_norm, norms.values())):
        ratio = stream.width / width
        fields |= {n: v * ratio for n, v in module.config.to_dict().items() if n.endswith("norm_eps") and v}
    network = empty_network(module, with_fields(module.config, fields))
    places = _places(module, network, stream, channels)
    state = {name: _kept(tensor, places.get(name, {})) for name, tensor in module.state_dict().items()}
    for name, norm in norms.items():
        if not is_layer_norm(norm):
            state[f"{name}.weight"] = state[f"{name}.weight"] * (stream.width / width) ** 0.5
    fill(network, state)
    _check(module, network, places, channels, probe)
    return network


def _places(module: Any, network: Any, stream: Stream, channels: Channels) -> _Places:
    """What stays along each axis on which the shapes of the two networks differ."""
    small = {name: tensor.shape for name, tensor in network.state_dict().items()}
    of = _positions(module, stream, channels)
    found: dict[str, dict[int, torch.Tensor]] = {}
    for name, tensor in module.state_dict().items():
        axes = [a for a, n in enumerate(small.get(name, ())) if tensor.ndim > a and tensor.shape[a] != n]
        if axes:
            found[name] = {axis: of(name, axis) for axis in axes}
    return found


def _positions(module: Any, stream: Stream, channels: Channels) -> Callable[[str, int], torch.Tensor]:
    """From the name of a weight and an axis to the positions that stay there."""
    from tiku.methods.prune._cutting import spans

    sizes, layout = sizes_of(module.config, stream.blocks, stream.layout), stream.layout
    rows: dict[str, torch.Tensor] = {}
    columns: dict[str, torch.Tensor] = dict.fromkeys(stream.behind_neck, channels.neck)
    if stream.neck is not None:
        rows[stream.neck] = channels.neck
    for i, heads in channels.heads.items():
        own = spans(heads, sizes.head_size)
        prefix = f"{stream.blocks.name}.{i}."
        rows |= {prefix + layer: own for layer in (layout.queries, layout.keys, layout.values)}
        columns[prefix + layout.output] = own

    def of(name: str, axis: int) -> torch.Tensor:
        layer = name.rpartition(".")[0]
        return (rows if axis == 0 else columns).get(layer, channels.stream)

    return of


def _kept(tensor: torch.Tensor, places: Mapping[int, torch.Tensor]) -> torch.Tensor:
    for axis, positions in places.items():
        tensor = tensor.index_select(axis, positions)
    return tensor


def _check(module: Any, network: Any, places: _Places, channels: Channels, probe: Batch) -> None:
    import torch

    with torch.inference_mode():
        with _silenced(module, places, channels) as whole:
            expected = run(whole, probe)
        away = (run(network, probe) - expected).abs()
    real = probe.mask_BT if away.ndim == 3 else slice(None)
    largest = away[real].max().item()
    if not largest <= _TOLERANCE * max(1.0, expected[real].abs().max().item()):
        raise ModelError(
            "the narrower network does not answer as the whole one with these channels silenced",
            got=f"logits {largest:.3g} apart",
            allowed="the same logits",
            next_step="leave keep_width out for this model: it depends on the number of channels",
        )


@contextlib.contextmanager
def _silenced(module: Any, places: _Places, channels: Channels) -> Iterator[Any]:
    """A copy of the whole network in which nothing is written into the channels that go."""
    import torch

    whole = copy.deepcopy(module)
    width = whole.config.hidden_size
    for name, tensor in whole.state_dict().items():
        for axis, positions in places.get(name, {}).items():
            gone = torch.ones(tensor.shape[axis], dtype=torch.bool)
            gone[positions] = False
            tensor.index_fill_(axis, gone.nonzero().flatten(), 0)
    norms = [m for m in whole.modules() if is_layer_norm(m) and tuple(m.normalized_shape) == (width,)]
    handles = [norm.register_forward_hook(_over_kept(channels.stream)) for norm in norms]
    try:
        yield whole
    finally:
        for handle in handles:
            handle.remove()


def _over_kept(kept: torch.Tensor) -> Callable[..., Any]:
    """A LayerNorm that counts the channels that stay and leaves the others at zero."""
    import torch

    def after(norm: Any, args: tuple[Any, ...], output: Any) -> Any:
        bias = None if norm.bias is None else norm.bias[kept]
        counted = torch.nn.functional.layer_norm(
            args[0][..., kept], (len(kept),), norm.weight[kept], bias, norm.eps
        )
        return torch.zeros_like(output).index_copy(-1, kept, counted)

    return after
