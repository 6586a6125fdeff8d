"""The model that `bench.offload` streams, as it is and in 8 bits, and how far the two are apart.

Shape letters: T tokens of a random text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["SHAPE", "compare_texts", "make", "round_to_int8", "write_text_logits"]

SHAPE = {
    "hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
    "intermediate_size": 5632, "vocab_size": 32_000, "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}  # fmt: skip
_TEXT = 256  # random tokens that quality is measured on
_WORSE = 0.01  # of the peer's perplexity


def make(folder: Path) -> int:
    """Write the model; the bytes of its weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    with torch.device("meta"):
        module = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).bfloat16()
    module = module.to_empty(device="cpu").eval()
    for name, weight in module.named_parameters():
        values = torch.randn(weight.shape, dtype=torch.bfloat16).mul_(0.02)
        weight.data.copy_(torch.ones_like(weight) if "norm" in name else values)
    module.save_pretrained(folder, max_shard_size="4GB")
    return sum(2 * weight.numel() for weight in module.parameters())


def round_to_int8(folder: Path, rounded: Path) -> None:
    """The same model with every linear layer in 8 bits, as int8-weight-only with compute bf16 makes it; the
    ranges are not searched, which takes minutes."""
    import torch

    from tiku.layers.quantized_linear import QuantizedLinear
    from tiku.methods.quantize._grid import GridKind, round_to_nearest
    from tiku.runtimes._compressed_tensors import describe
    from tiku.runtimes._torch_loading import load_module

    module = load_module(folder, "causal-lm", "bfloat16")
    kind = GridKind(8, None, symmetric=True, search=False, bf16_scales=True)
    for name, layer in [(n, m) for n, m in module.named_modules() if type(m) is torch.nn.Linear]:
        parent, _, leaf = name.rpartition(".")
        codes = round_to_nearest(layer.weight.detach().float(), kind)
        setattr(module.get_submodule(parent), leaf, QuantizedLinear.of(codes))
    module.save_pretrained(rounded, max_shard_size="4GB")
    describe(rounded, module)


def write_text_logits(module: Any, path: Path) -> None:
    """What the module says of the random text."""
    import numpy as np
    import torch

    with torch.inference_mode():
        np.save(path, module(input_ids=torch.from_numpy(_text())[None]).logits[0].float().numpy())


def _text() -> Any:
    """int64 (T,)"""
    import numpy as np

    return np.random.default_rng(0).integers(0, SHAPE["vocab_size"], _TEXT)


def compare_texts(ours: Path, peer: Path) -> str:
    """How much more perplexed ours is than the peer: by random tokens, and by what the peer itself would
    write (the exponential of the divergence). Both within the tolerance."""
    import numpy as np
    from scipy.special import log_softmax

    mine, theirs = (log_softmax(np.load(path).astype(np.float64), axis=-1) for path in (ours, peer))
    rows, following = np.arange(_TEXT - 1), _text()[1:]
    random = float(np.expm1((theirs - mine)[rows, following].mean()))
    written = float(np.expm1((np.exp(theirs) * (theirs - mine)).sum(axis=-1).mean()))
    if max(random, written) > _WORSE:
        raise AssertionError(f"perplexity {random:+.2%} and {written:+.2%}, allowed {_WORSE:.0%}")
    told = f"perplexity {random:+.3%} on {_TEXT} random tokens"
    return f"{told}, {written:+.3%} on what the peer would write there"
