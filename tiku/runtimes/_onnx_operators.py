"""Operators of ONNX Runtime as torch functions: run by torch they only have the right shape, traced they are
one operator each (with the transpositions it needs, which `_onnx_rewriting` takes out again).

B batch, T new tokens, H heads, D width of a head.
"""

from __future__ import annotations

from typing import Any

__all__ = ["grouped_attention", "rms_norm", "rotation"]

_NEAR = 1e-4


def grouped_attention(
    new: tuple[Any, Any, Any],
    past: tuple[Any, Any],
    last_B: Any,
    total: Any,
    bias: Any,
    *,
    scale: float,
    softcap: float,
) -> tuple[Any, Any, Any]:
    """Attention of `new` (query_BHTD, keys and values of as many or fewer heads): (B, T, H, D) and the
    cache's buffers with the new keys and values in them."""
    import torch

    heads, groups, width = (int(n) for n in (new[0].shape[1], new[1].shape[1], new[0].shape[3]))

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, q: Any, k: Any, v: Any, keys: Any, values: Any, *other: Any) -> Any:
            joined = (torch.cat(pair, dim=2) for pair in ((keys, k), (values, v)))
            return (q.transpose(1, 2).contiguous(), *joined)

        @staticmethod
        def symbolic(graph: Any, q: Any, k: Any, v: Any, keys: Any, values: Any, *other: Any) -> Any:
            from torch.onnx.symbolic_helper import _optional_input_placeholder_tensor as left_out

            last, whole, *more = other
            rows = [_merged(graph, x) for x in (q, k, v)]
            absent = [left_out(graph) for _ in range(3 if more else 0)]  # type: ignore[no-untyped-call]
            out, present_keys, present_values = graph.op(
                "com.microsoft::GroupQueryAttention", *rows, keys, values, last, whole,
                *absent, *more, num_heads_i=heads,
                kv_num_heads_i=groups, scale_f=scale, softcap_f=softcap, outputs=3,
            )  # fmt: skip
            parted = _reshape(graph, out, (0, 0, heads, width))
            parted.setType(q.type().with_sizes([None, None, heads, width]))
            for made, held in ((present_keys, keys), (present_values, values)):
                made.setType(held.type())
            return parted, present_keys, present_values

    given = (*new, *past, last_B, total, *(() if bias is None else (bias,)))
    found: tuple[Any, Any, Any] = Attention.apply(*given)  # type: ignore[no-untyped-call]
    return found


def rotation(x_BHTD: Any, cos: Any, sin: Any, lines_BT: Any) -> Any:
    """Rotary positions: token (b, t) is turned by line `lines_BT[b, t]` of the tables (lines, D / 2)."""
    import torch

    heads, width = int(x_BHTD.shape[1]), int(x_BHTD.shape[3])

    class Rotation(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *tables: Any) -> Any:
            return x.clone()

        @staticmethod
        def symbolic(graph: Any, x: Any, cos: Any, sin: Any, lines: Any) -> Any:
            turned = graph.op(
                "com.microsoft::RotaryEmbedding", _merged(graph, x), lines, cos, sin, num_heads_i=heads
            )
            parted = _reshape(graph, turned, (0, 0, heads, width))
            back = graph.op("Transpose", parted, perm_i=[0, 2, 1, 3])
            back.setType(x.type())
            return back

    return Rotation.apply(x_BHTD, cos, sin, lines_BT)  # type: ignore[no-untyped-call]


def rms_norm(module: Any) -> Any:
    """A module that traces to one operator and computes what `module` computes; None where there is none."""
    import torch

    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if weight is None or epsilon is None or weight.dim() != 1:
        return None
    x = torch.randn(3, weight.shape[0], generator=torch.Generator().manual_seed(0))
    normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
    own = module(x)
    scale = next((s for s in (weight, 1 + weight) if torch.allclose(own, normed * s, atol=_NEAR)), None)
    return None if scale is None else _norm(scale, float(epsilon))


def _norm(scale: Any, epsilon: float) -> Any:
    import torch

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, scale: Any) -> Any:
            return x.clone()

        @staticmethod
        def symbolic(graph: Any, x: Any, scale: Any) -> Any:
            # in torch's tracer a domain of its own; ONNX Runtime knows it in the standard one
            made = graph.op(
                "com.microsoft::SimplifiedLayerNormalization", x, scale, axis_i=-1, epsilon_f=epsilon
            )
            made.setType(x.type())
            return made

    class RootMeanSquare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(scale.detach(), requires_grad=False)

        def forward(self, x: Any) -> Any:
            return Norm.apply(x, self.weight)  # type: ignore[no-untyped-call]

    return RootMeanSquare()


def _merged(graph: Any, x_BHTD: Any) -> Any:
    """(B, T, H * D)."""
    return _reshape(graph, graph.op("Transpose", x_BHTD, perm_i=[0, 2, 1, 3]), (0, 0, -1))


def _reshape(graph: Any, x: Any, shape: tuple[int, ...]) -> Any:
    import torch

    return graph.op("Reshape", x, graph.op("Constant", value_t=torch.tensor(shape)))
