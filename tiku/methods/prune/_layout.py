"""Where the blocks, heads and neurons of a transformer are, found by config fields and module names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tiku.core.subject import Subject
from tiku.core.verdict import Support

__all__ = ["Blocks", "Layout", "Sizes", "find_blocks", "find_layout", "part", "prunable", "sizes_of"]


@dataclass(frozen=True)
class Blocks:
    """The stack: its name in the module and its blocks, equal in kind and shapes."""

    name: str
    blocks: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.blocks)


@dataclass(frozen=True)
class Layout:
    """Names of the linear layers inside a block. Rows of `into` and columns of `out_of` are neurons."""

    queries: str
    keys: str
    values: str
    output: str
    into: tuple[str, ...]
    out_of: str
    neurons_field: str  # in the config
    head_size_field: str | None  # None: the head size is the width over the number of heads


@dataclass(frozen=True)
class Sizes:
    """Per block: neurons, query heads, key/value groups, and numbers per head."""

    neurons: int
    heads: int
    groups: int
    head_size: int


_LAYOUTS = (
    Layout(  # BERT, RoBERTa, XLM-R, Electra, CamemBERT
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        ("intermediate.dense",), "output.dense", "intermediate_size", None,
    ),
    Layout(  # DistilBERT
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
        ("ffn.lin1",), "ffn.lin2", "hidden_dim", None,
    ),
    Layout(  # Llama, Mistral, Qwen2, Qwen3, Gemma, SmolLM3
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj", "intermediate_size", "head_dim",
    ),
)  # fmt: skip


def prunable(subject: Subject) -> Support:
    """Float32 transformers modules with one stack of equal blocks."""
    if not hasattr(getattr(subject.module, "config", None), "to_dict"):
        return Support.no(
            "the model is not a transformers module: nothing says which parts repeat",
            "模型不是 transformers 模块，无从得知哪些部分重复出现",
        )
    if subject.numerics.scheme != "fp32":
        return Support.no(
            f"the model is already {subject.numerics.scheme}; parts are cut before numbers are rounded",
            f"模型已是 {subject.numerics.scheme}；应先剪枝再量化",
        )
    if find_blocks(subject.module) is None:
        return Support.no(
            "the network is not one stack of equal blocks as its config counts them "
            "(two stacks, shared weights, or blocks of several kinds)",
            "网络不是由配置所计的一列相同层组成（有两列、共享权重，或层的种类不同）",
        )
    return Support.yes()


def find_blocks(module: Any) -> Blocks | None:
    """The one list of `num_hidden_layers` blocks that agree in kind, names and shapes."""
    from torch.nn import ModuleList

    config = module.config
    if getattr(config, "is_encoder_decoder", False):
        return None
    count = getattr(config, "num_hidden_layers", None)
    lists = [(n, m) for n, m in module.named_modules() if isinstance(m, ModuleList) and len(m) == count]
    lists = [(n, m) for n, m in lists if len({_form(block) for block in m}) == 1]
    if len(lists) != 1:
        return None
    name, stack = lists[0]
    return Blocks(name, tuple(stack))


def find_layout(blocks: Blocks) -> Layout | None:
    """The first known layout whose linear layers are all there; None where weights are fused or unknown."""
    from torch.nn import Linear

    for layout in _LAYOUTS:
        names = (layout.queries, layout.keys, layout.values, layout.output, *layout.into, layout.out_of)
        if all(isinstance(part(blocks.blocks[0], name), Linear) for name in names):
            return layout
    return None


def sizes_of(config: Any, blocks: Blocks, layout: Layout) -> Sizes:
    """Read from the weights, so that it holds however the config says it."""
    first = blocks.blocks[0]
    heads = int(config.num_attention_heads)
    head_size = part(first, layout.queries).out_features // heads
    return Sizes(
        neurons=part(first, layout.out_of).in_features,
        heads=heads,
        groups=part(first, layout.keys).out_features // head_size,
        head_size=head_size,
    )


def part(module: Any, name: str) -> Any:
    """The submodule of a dotted name; None where there is none."""
    return reduce(lambda found, step: getattr(found, step, None), name.split("."), module)


def _form(block: Any) -> tuple[Any, ...]:
    shapes: Mapping[str, Any] = {name: tuple(t.shape) for name, t in block.state_dict().items()}
    return (type(block), *sorted(shapes.items()))
