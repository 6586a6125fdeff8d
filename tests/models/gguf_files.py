"""Tiny GGUF files, written as llama.cpp's converter writes them."""

import gguf
import numpy as np

from tests.models.architectures import module

MERGES = ("g o", "o d", "go od", "Ġ f", "i l", "il m", "Ġf ilm", "b a", "ba d", "1 2")
_BLOCK = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def vocabulary():
    """Byte-level tokens: all bytes, then the merges, then the end of text."""
    from tokenizers.pre_tokenizers import ByteLevel

    return [*sorted(ByteLevel.alphabet()), *(m.replace(" ", "") for m in MERGES), "<|end|>"]


def llama():
    """The network of the file, as torch holds it."""
    return module(
        "AutoModelForCausalLM", "llama", vocab_size=len(vocabulary()), intermediate_size=64, head_dim=8,
        bos_token_id=None, eos_token_id=len(vocabulary()) - 1, pad_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip


def _turned(weights, heads):
    """Rows of queries and keys in the order of llama.cpp's rotary embedding."""
    half = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weights.shape)


def tensors(network):
    """(GGUF name, weights) of every tensor."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    yield "token_embd.weight", state["model.embed_tokens.weight"]
    yield "output_norm.weight", state["model.norm.weight"]
    yield "output.weight", state["lm_head.weight"]
    heads = {"attn_q": network.config.num_attention_heads, "attn_k": network.config.num_key_value_heads}
    for layer in range(network.config.num_hidden_layers):
        for theirs, ours in _BLOCK.items():
            weights = state[f"model.layers.{layer}.{ours}.weight"]
            yield (
                f"blk.{layer}.{theirs}.weight",
                _turned(weights, heads[theirs]) if theirs in heads else weights,
            )


def write(path, network, kind="F32", pre="gpt-2"):
    """The file: matrices in this number format, vectors in float32."""
    shape, writer = network.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)
    tokens = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_eos_token_id(len(tokens) - 1)
    for name, weights in tensors(network):
        wanted = gguf.GGMLQuantizationType[kind if weights.ndim == 2 else "F32"]
        stored = gguf.quantize(np.ascontiguousarray(weights, dtype=np.float32), wanted)
        writer.add_tensor(name, stored, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
