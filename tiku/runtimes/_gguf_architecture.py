"""Which transformers models llama.cpp computes the same way, and what GGUF calls their parts.

Shape letters: O outputs, I inputs, H heads, D width of a head, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.verdict import Support

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from numpy.typing import NDArray

__all__ = [
    "Architecture",
    "architecture_of",
    "as_llama_cpp_rotates",
    "hyperparameters",
    "mappable",
    "rotary_factors",
    "tensors",
]

_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_ROTARY = ("default", "linear", "llama3")  # fixed frequencies; others change them with the length


@dataclass(frozen=True)
class Architecture:
    """`name` is GGUF's. `pairs`: llama.cpp rotates neighbours, so that the rows of queries and keys move.
    `biases`: layers that may have one. `factors`: whether rotary frequencies of its own can be stored."""

    name: str
    biases: tuple[str, ...]
    pairs: bool = False
    factors: bool = False


_LLAMA = Architecture(
    "llama",
    (*_QKV, "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    pairs=True,
    factors=True,
)
_KNOWN = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": Architecture("qwen2", _QKV),
    "Qwen3ForCausalLM": Architecture("qwen3", _QKV),
}


def architecture_of(module: Any) -> Architecture | None:
    """None where tiku knows no counterpart."""
    return _KNOWN.get(type(module).__name__)


def mappable(module: Any) -> Support:
    """Yes where llama.cpp computes what this module does; no, with the reason, for others. Cheap."""
    known = architecture_of(module)
    if known is None:
        return Support.no(
            f"tiku writes {', '.join(_KNOWN)} for llama.cpp, and this is {type(module).__name__}",
            f"tiku 为 llama.cpp 写出 {'、'.join(_KNOWN)}，而此模型是 {type(module).__name__}",
        )
    wrong = _setting_without_place(module.config, known) or _tensor_without_place(module, known)
    if wrong is None:
        return Support.yes()
    return Support.no(
        f"llama.cpp's {known.name} has no {wrong[0]}", f"llama.cpp 的 {known.name} 不支持{wrong[1]}"
    )


def _setting_without_place(config: Any, known: Architecture) -> tuple[str, str] | None:
    """What the config asks for and the architecture lacks, in English and Chinese."""
    window = getattr(config, "sliding_window", None)
    windowed = getattr(config, "use_sliding_window", True) and window is not None
    if windowed and window < config.max_position_embeddings:
        return f"sliding window ({window} tokens)", f"滑动窗口（{window} 个词元）"
    if config.hidden_act not in ("silu", "swish"):
        return f"activation {config.hidden_act}", f"激活函数 {config.hidden_act}"
    rotary = config.rope_parameters
    kind = rotary.get("rope_type", "default")
    if kind not in (_ROTARY if known.factors else ("default",)):
        return f"rotary embedding of the kind {kind}", f"类型为 {kind} 的旋转位置编码"
    if rotary.get("partial_rotary_factor", 1.0) != 1.0:
        return "rotary embedding of a part of each head", "只作用于部分维度的旋转位置编码"
    if known.name == "qwen2" and _head_width(config) * config.num_attention_heads != config.hidden_size:
        return "heads that together are not as wide as the model", "总宽度与模型宽度不同的注意力头"
    return None


def _tensor_without_place(module: Any, known: Architecture) -> tuple[str, str] | None:
    """A tensor of another name or shape than llama.cpp computes from the config."""
    config = module.config
    places = _shapes(config)
    found = set()
    for name, part in tensors(module):
        inner = _inner(name)
        shape = (part.out_features, part.in_features) if hasattr(part, "in_features") else tuple(part.shape)
        stem = inner.removesuffix(".bias")
        expected = (
            places[f"{stem}.weight"][:1] if stem in known.biases and stem != inner else places.get(inner)
        )
        if expected != shape:
            return f"place for {name} of shape {shape}", f"形状为 {shape} 的 {name}"
        found.add(name)
    count = sum(name.endswith("self_attn.q_proj.weight") for name in found)
    if count != config.num_hidden_layers:
        return f"model of {config.num_hidden_layers} layers whose {count} are there", "层数与配置不符的模型"
    return None


def _shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Weights by their name within a layer."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head, few = _head_width(config), config.num_key_value_heads
    return {
        "model.embed_tokens.weight": (config.vocab_size, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (config.vocab_size, width),
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
        "self_attn.q_proj.weight": (heads * head, width),
        "self_attn.k_proj.weight": (few * head, width),
        "self_attn.v_proj.weight": (few * head, width),
        "self_attn.o_proj.weight": (width, heads * head),
        "self_attn.q_norm.weight": (head,),
        "self_attn.k_norm.weight": (head,),
        "mlp.gate_proj.weight": (inner, width),
        "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
    }


def tensors(module: Any) -> Iterator[tuple[str, Any]]:
    """(transformers' name, tensor or `QuantizedLinear`) of all that is stored; what two share, once."""
    from tiku.layers.quantized_linear import QuantizedLinear

    seen: set[int] = set()
    for name, part in module.named_modules():
        if isinstance(part, QuantizedLinear):
            yield f"{name}.weight", part
            if part.bias is not None:
                yield f"{name}.bias", part.bias
            continue
        for key, parameter in part.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{name}.{key}", parameter.detach()


def as_llama_cpp_rotates(known: Architecture, config: Any, name: str, rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of queries and keys (H·D, …): transformers rotates number i with number i + D/2 of a head,
    llama.cpp with its neighbour."""
    layer = _inner(name).rpartition(".")[0]
    if not known.pairs or layer not in _QKV[:2]:
        return rows
    heads = config.num_attention_heads if layer == _QKV[0] else config.num_key_value_heads
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def rotary_factors(module: Any) -> NDArray[Any] | None:
    """What the plain frequencies are divided by (D/2,); None where they are the plain ones."""
    import numpy as np

    rotary = module.config.rope_parameters
    if rotary.get("rope_type", "default") == "default":
        return None
    own = module.model.rotary_emb.inv_freq.double().numpy()
    plain = float(rotary["rope_theta"]) ** (-np.arange(len(own)) / len(own))
    factors: NDArray[Any] = (plain / own).astype(np.float32)
    return factors


def hyperparameters(writer: GGUFWriter, config: Any) -> None:
    """What llama.cpp must know beside the tensors."""
    width = _head_width(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _inner(name: str) -> str:
    """The name without the number of the layer."""
    parts = name.split(".")
    return ".".join(parts[3:]) if parts[:2] == ["model", "layers"] else name
