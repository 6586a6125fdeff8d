"""Folded norms: the logits stay, scales become one, and what a residual sum reads is left alone."""

from dataclasses import replace

import pytest
import torch
import transformers

from tiku.core.subject import Numerics
from tiku.methods.fuse.fold_affine import FoldAffine
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model

_SMALL = {"vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_DECODER = {**_SMALL, "num_key_value_heads": 2, "intermediate_size": 48, "pad_token_id": 0}


def _llama(**more):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_DECODER, **more))


def _gemma():
    return transformers.GemmaForCausalLM(transformers.GemmaConfig(**_DECODER, head_dim=8))


def _gpt2():
    sizes = {"vocab_size": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=1))


def _opt():
    config = transformers.OPTConfig(**_SMALL, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=64)
    return transformers.OPTForCausalLM(config)


# how many norms can be folded by the published architecture: two per block, and the last before an own head
ARCHITECTURES = {
    "llama": (_llama, 5, 1.0),
    "llama with a tied head": (lambda: _llama(tie_word_embeddings=True), 4, 1.0),
    "gemma, which scales by one more than its weight": (_gemma, 4, 0.0),
    "gpt2, whose matrices are transposed": (_gpt2, 4, 1.0),
    "opt, with biases": (_opt, 4, 1.0),
}


def _subject(build):
    """Parameters of sizes that matter: fresh scales are one and fresh shifts zero, which would hide them."""
    torch.manual_seed(5)
    module = build().eval()
    for parameter in module.parameters():
        parameter.data.normal_(0.2, 0.3)
    return replace(tiny_language_model(), module=module)


def _norms(module):
    return {n: p for n, p in module.named_modules() if type(p).__name__.endswith(("LayerNorm", "RMSNorm"))}


def _is_bare(norm, neutral):
    shift = getattr(norm, "bias", None)
    return bool(torch.all(norm.weight == neutral)) and (shift is None or not shift.any())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_stay_and_the_scales_move_into_the_layers(name, tmp_path):
    build, folded_norms, neutral = ARCHITECTURES[name]
    subject = _subject(build)
    folded = FoldAffine().apply(subject, tiny_context(tmp_path))
    ids = torch.randint(1, 24, (3, 11))
    with torch.inference_mode():
        before, after = subject.module(ids).logits, folded.module(ids).logits
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    bare = [norm for norm in _norms(folded.module).values() if _is_bare(norm, neutral)]
    assert len(bare) == folded_norms == folded.facts["fold_affine"]["folded"]


def test_a_folded_model_is_an_ordinary_one_on_disk(tmp_path):
    folded = FoldAffine().apply(_subject(_llama), tiny_context(tmp_path))
    folded.module.save_pretrained(tmp_path / "saved")
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "saved").eval()
    ids = torch.randint(1, 24, (2, 7))
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, folded.module(ids).logits)


def test_a_norm_whose_output_also_goes_into_a_residual_sum_is_left(tmp_path):
    folded = FoldAffine().apply(tiny_classifier(), tiny_context(tmp_path))
    facts = folded.facts["fold_affine"]
    # BERT normalises after its sums: only the last norm has one reader, the pooler
    assert facts["folded"] == 1
    assert all("aten.add" in why for why in facts["left"].values()) and len(facts["left"]) == 4


def test_a_tied_head_is_left_and_named(tmp_path):
    folded = FoldAffine().apply(_subject(lambda: _llama(tie_word_embeddings=True)), tiny_context(tmp_path))
    assert folded.facts["fold_affine"]["left"] == {
        "model.norm": "lm_head shares its weight with another layer"
    }


def test_a_model_that_normalises_after_its_layers_is_refused_with_the_reason():
    config = transformers.Olmo2Config(**_DECODER, tie_word_embeddings=True)
    refused = FoldAffine().supports(_subject(lambda: transformers.Olmo2ForCausalLM(config)))
    assert not refused
    assert "aten.add" in refused.reason.en and "lm_head shares its weight" in refused.reason.en


def test_a_rounded_model_is_refused():
    rounded = replace(tiny_classifier(), numerics=Numerics("int4-weight-only"))
    assert "folding comes before rounding" in FoldAffine().supports(rounded).reason.en
