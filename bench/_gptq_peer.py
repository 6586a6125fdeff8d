"""llm-compressor in an environment of its own: one JSON request on the standard input, one JSON line out.

`python bench/_gptq_peer.py < REQUEST`; needs llmcompressor alone. GPTQ is set up as its documentation shows:
`oneshot` with `GPTQModifier`, whose order of activations, damping and block size are left as they are.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def modifier(group: int, symmetric: bool) -> GPTQModifier:
    """W4A16 or W4A16_ASYM with another group size than the presets' 128."""
    weights = QuantizationArgs(
        num_bits=4, type="int", strategy="group", group_size=group, symmetric=symmetric, dynamic=False
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    return GPTQModifier(config_groups={"group_0": scheme}, ignore=["lm_head"])


def quantise(
    folder: str, windows: list[list[int]], group: int, symmetric: bool, batch: int, threads: int, out: str
) -> dict[str, Any]:
    """`seconds` leave out reading the model and writing `out`, the quantised layers' weights in float32."""
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    data = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * len(w) for w in windows]})
    data.set_format("torch")
    longest = max(map(len, windows))
    start = time.perf_counter()
    oneshot(
        model=model, dataset=data, recipe=modifier(group, symmetric), batch_size=batch,
        num_calibration_samples=len(windows), max_seq_length=longest,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    done = {
        name: part.weight.detach().float().contiguous()
        for name, part in model.named_modules()
        if getattr(part, "quantization_scheme", None) is not None
    }
    save_file(done, out)
    return {"seconds": seconds, "version": version("llmcompressor"), "layers": len(done)}


def main() -> None:
    """Nothing but the answer goes to the standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(quantise(**json.load(sys.stdin))), file=answers, flush=True)


if __name__ == "__main__":
    main()
