# ruff: noqa: E501 - one row per case reads as a table
"""Models, data and limits under which nothing can be made smaller or faster: said, and nothing is written."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.badinput.refusal import Case, Home, case, check, table
from tests.command import run
from tiku.artefact import write
from tiku.artefact.manifest import check_files, read_manifest
from tiku.core import registry
from tiku.core.errors import ArtefactError
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.methods.memory.lossless_weights import LosslessWeights
from tiku.methods.quantize.int4_weight_only import Int4WeightOnly
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts


def _decoder(**sizes: Any) -> Subject:
    """Three heads of 16 in a stream of 48, unless told otherwise."""
    tiny = tiny_language_model()
    fields = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "intermediate_size": 56,
    }
    config = transformers.LlamaConfig(
        vocab_size=len(tiny.processor),
        max_position_embeddings=48,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=3,
        **{**fields, **sizes},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return replace(tiny, module=transformers.LlamaForCausalLM(config).eval())


_ODD = {"num_attention_heads": 5, "num_key_value_heads": 5, "hidden_size": 50, "intermediate_size": 37}


def _saved(subject: Subject) -> str:
    registry.get("models", subject.family).save(subject, Path("made"))
    return "made"


def _prose(home: Home) -> str:
    """Documents that are no copies of each other."""
    draw = random.Random(0)
    words = [t for t in tiny_texts(200, seed=3)]
    return home.write("prose.txt", "\n\n".join(" ".join(draw.sample(words, 12)) + "." for _ in range(40)))


def _apply(home: Home, subject: Subject, steps: str, data: str | None = None) -> list[object]:
    recipe = home.write("bad.yaml", f"steps: [{steps}]\n")
    return ["apply", recipe, _saved(subject), "--data", data or _prose(home), "--out", "built"]


def _with(change: Callable[[Any], None], subject: Subject | None = None) -> Subject:
    made = subject or _decoder()
    with torch.no_grad():
        change(made.module)
    return made


def _not_a_number(module: Any) -> None:
    module.model.layers[0].mlp.up_proj.weight[3, 1] = torch.nan


def _infinite_norm(module: Any) -> None:
    module.model.layers[1].input_layernorm.weight[0] = torch.inf


def _beyond_float32(module: Any) -> None:
    """Activations of 1e20 are finite, and their squares are not: the Hessian has no Cholesky factor."""
    block = module.model.layers[0]
    block.post_attention_layernorm.weight.mul_(1e20)
    for reader in (block.mlp.gate_proj, block.mlp.up_proj):
        reader.weight.mul_(1e-20)


CALIBRATED = ("gptq", "awq", "mixed-bits")
CASES = [
    *(case(f"text too short for {m}", lambda h, m=m: _apply(h, _decoder(), m, h.write("p.txt", "a good film")), "too little text to split", "2,000 characters") for m in CALIBRATED),
    case("examples too few", lambda h: _apply(h, tiny_classifier(), "gptq", h.csv([["a film", "good"], ["a plot", "bad"]])), "too few examples to split", "at least 20 examples"),
    *(case(f"calibration that validation holds too, {m}", lambda h, m=m: _apply(h, _decoder(), m, h.write("p.txt", "a good film and the plot was bad. " * 300)), "nothing to calibrate on", "that validation does not hold too", "give more data") for m in CALIBRATED),
    *(case(f"a weight is not a number, {m}", lambda h, m=m: _apply(h, _with(_not_a_number), m), "not finite", "mlp.up_proj.weight", "earlier checkpoint") for m in (*CALIBRATED, "int4-weight-only", "hqq", "prune-width", "prune-depth", "lossless-weights", "half-weights")),
    case("a weight is infinite", lambda h: _apply(h, _with(_infinite_norm), "gptq"), "not finite", "input_layernorm.weight"),
    case("no Cholesky factor", lambda h: _apply(h, _with(_beyond_float32), "gptq"), "cannot be factored", "allowed", "int4-weight-only"),
    *(case(f"no linear layers, {m}", lambda h, m=m: _apply(h, _decoder(num_hidden_layers=0), m), "cannot be applied to this model here", "no linear layer outside its head") for m in (*CALIBRATED, "int4-weight-only", "int8-weight-only", "hqq")),
    case("no blocks to prune", lambda h: _apply(h, _decoder(num_hidden_layers=0), "prune-depth"), "not one stack of equal blocks"),
    case("no blocks to stream", lambda h: _apply(h, _decoder(num_hidden_layers=0), "layer-streaming"), "repeats 0 blocks"),
    case("one group of heads", lambda h: _apply(h, _decoder(num_key_value_heads=1), "{method: prune-width, config: {keep_heads: 0.5}}"), "none can go"),
    case("memory limit below the weights", lambda h: _apply(h, _decoder(hidden_size=240), "{method: adaptive-batch, config: {limit_mb: 1}}"), "the weights alone take", "limit is 1 MB"),
]  # fmt: skip


@table(CASES)
def test_compressions_that_cannot_be_made_are_refused(home: Home, row: Case) -> None:
    check(home, row)


_ODD_CASES = [
    ("int4-weight-only", {}),
    ("{method: prune-width, config: {keep_heads: 0.5, keep_neurons: 0.5, keep_width: 0.7}}", {}),
    ("gptq", _ODD),
    ("int8-cache", _ODD),
    ("fold-qkv", _ODD),
]


@pytest.mark.parametrize(("steps", "sizes"), _ODD_CASES)
def test_odd_numbers_of_heads_and_odd_widths_are_no_reason_to_fail(
    home: Home, steps: str, sizes: dict[str, int]
) -> None:
    """Or the recipe is refused with the reason; never a crash, never an artefact that answers otherwise."""
    told = run(*_apply(home, _decoder(**sizes), steps), "--quiet")
    assert "Traceback" not in told.err and "inside tiku" not in told.err
    if told.code:
        assert told.code == 2 and "cannot be applied to this model here" in told.err, told.err
    else:
        answered = run("predict", "built", home.write("in.txt", "a good film\n"))
        assert answered.code == 0 and answered.out, answered.err


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write")
def test_artefact_folder_that_cannot_be_written_is_said(home: Home) -> None:
    arguments = _apply(home, _decoder(), "int4-weight-only")
    told = run(*arguments[:-1], "/proc/self/built")
    assert told.code == 3 and "Traceback" not in told.err
    assert "cannot be written" in told.err or "could not write" in told.err
    assert "choose another folder with --out" in told.err


def _built(home: Home, method: Any) -> Path:
    context = tiny_context(home.path)
    subject = method.apply(tiny_classifier(), context)
    write(subject, home.path / "built", recipe=Recipe.of(method), examples=tiny_texts(4))
    (path,) = (home.path / "built").rglob("*.safetensors")
    return path


@pytest.mark.parametrize("method", [LosslessWeights(), Int4WeightOnly()])
def test_truncated_or_flipped_weights_answer_nothing(home: Home, method: Any) -> None:
    path = _built(home, method)
    whole, draw = path.read_bytes(), random.Random(0)
    home.write("in.txt", "a good film\n")
    assert run("predict", "built", "in.txt").code == 0
    damaged = [whole[: len(whole) // 2], whole[:-1], b""]
    for place in draw.sample(range(8 * len(whole)), 12):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        told = run("predict", "built", "in.txt")
        assert told.code == 2 and told.out == "" and "Traceback" not in told.err, told.err
        assert path.name in told.err and "next: " in told.err
    assert run("verify", "built").code == 1


def test_a_thousand_flipped_bits_of_few_bit_weights_are_all_found(home: Home) -> None:
    """By the hashes that an artefact carries; the compressed files' own checks are in tests/weightfiles."""
    path = _built(home, Int4WeightOnly())
    folder = home.path / "built"
    manifest, whole, draw = read_manifest(folder), path.read_bytes(), random.Random(0)
    check_files(folder, manifest)
    for place in draw.sample(range(8 * len(whole)), 1000):
        with path.open("r+b", buffering=0) as file:
            for byte in (whole[place // 8] ^ 1 << place % 8, whole[place // 8]):
                file.seek(place // 8)
                file.write(bytes([byte]))
                if byte != whole[place // 8]:
                    with pytest.raises(ArtefactError, match=r"model\.safetensors"):
                        check_files(folder, manifest)
    check_files(folder, manifest)


def test_memory_limit_below_what_the_process_takes_is_said_with_the_least(home: Home) -> None:
    recipe = home.write("r.yaml", "steps: [{method: adaptive-batch, config: {limit_mb: 1}}]\n")
    assert run("apply", recipe, "model", "--data", "reviews.csv", "--out", "built", "--quiet").code == 0
    told = run("predict", "built", home.write("in.txt", "a good film\n"))
    assert told.code in (2, 3) and told.out == "" and "Traceback" not in told.err
    assert "limit" in told.err and "next: " in told.err
