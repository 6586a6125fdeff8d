"""Every serving method, in every runtime, on three kinds of decoder: refused with a reason beforehand, or the
text is the one that the artefact without it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.architectures import module, tokenizer
from tiku.artefact import open_artefact, write
from tiku.core import registry
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.examination.building import Refused, apply_recipe
from tiku.testing import tiny_context, tiny_texts

KINDS = ("llama", "gpt2", "opt")  # rotary; learned, in Conv1D; learned and counted from the mask
RUNTIMES = ("torch", "onnxruntime", "openvino")
EXACT = ("static-cache", "prompt-lookup", "self-speculative", "continuous-batching", "adaptive-batch")
WAYS = (*EXACT, "int8-cache")
_OF_TORCH = {"static-cache", "self-speculative", "int8-cache"}  # what only a torch module can be made to do
REFUSED = {
    "torch": set(),
    "onnxruntime": _OF_TORCH,
    "openvino": {*_OF_TORCH, "continuous-batching", "adaptive-batch"},
}
PROMPTS = ["the film was the film", "good bad good bad good", "not a very dull scene and"]
_NEW = 12


def _opened(names: tuple[str, ...], kind: str, folder: Path) -> Any:
    """The artefact of these methods. Raises `Refused`."""
    made = module("AutoModelForCausalLM", kind, bos_token_id=None)
    subject = Subject("causal-lm", "causal-lm", made, tokenizer(frame=False))
    steps = (registry.get("methods", name)() for name in names)
    folder.mkdir()
    built = apply_recipe(Recipe.of(*steps), subject, tiny_context(folder))
    write(built, folder / "artefact", recipe=Recipe(), examples=tiny_texts(4))
    return open_artefact(folder / "artefact", threads=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_way_of_decoding_is_refused_or_decodes(kind: str, runtime: str, tmp_path: Path) -> None:
    steps = () if runtime == "torch" else (runtime,)
    plain = _opened(steps, kind, tmp_path / "plain").complete(PROMPTS, _NEW, past_end=True)
    refused = set()
    for way in WAYS:
        try:
            found = _opened((*steps, way), kind, tmp_path / way).complete(PROMPTS, _NEW, past_end=True)
        except Refused as refusal:
            assert refusal.reason.en and refusal.reason.zh
            refused.add(way)
            continue
        texts = [made.tokens for made in found]
        assert [len(text) for text in texts] == [_NEW] * len(PROMPTS), way
        if way in EXACT:
            assert texts == [made.tokens for made in plain], way
    own = {"self-speculative"} if kind == "opt" else set()  # its first layers cannot be asked alone
    assert refused == REFUSED[runtime] | own


def test_what_onnxruntime_serves_together_is_what_it_said(tmp_path: Path) -> None:
    for kind in KINDS:
        names = ("onnxruntime", "continuous-batching")
        assert _opened(names, kind, tmp_path / kind).complete(PROMPTS, _NEW)
