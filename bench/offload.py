"""A model that does not fit: layer-streaming against Accelerate's disk offload, tokens per second.

A random Llama in bf16 with TinyLlama's shape (1.1 B parameters) may keep a quarter of its weights in memory.
Each side is told that limit and decodes in a process of its own; `bench._memory_watch` says what it and the
cache of its weight files took at most, since no control group can be made here. Before each token the cache
of the weight files is emptied on both sides, so that every streamed byte comes from the disk: the kernel
counts them. The disk's own rate is measured by reading a weight file past the cache, before and after each
pair.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench._memory_watch import MemoryWatch, counter
from bench._pairs import Row, limit_threads, paired_row, run

_SHAPE = {
    "hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
    "intermediate_size": 5632, "vocab_size": 32_000, "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}  # fmt: skip
_SHARE = 0.25  # of the weights
_PROMPT = list(range(100, 116))
_TOKENS = 3  # of a turn; the first, which reads the prompt, is not timed
_TOLERANCE = 0.02  # of the largest logit: bf16 keeps 8 bits
_CHUNK = 4 << 20


def _make(folder: Path) -> int:
    """Write the model; the bytes of its weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    with torch.device("meta"):
        module = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_SHAPE)).bfloat16()
    module = module.to_empty(device="cpu").eval()
    for name, weight in module.named_parameters():
        values = torch.randn(weight.shape, dtype=torch.bfloat16).mul_(0.02)
        weight.data.copy_(torch.ones_like(weight) if "norm" in name else values)
    module.save_pretrained(folder, max_shard_size="4GB")
    return sum(2 * weight.numel() for weight in module.parameters())


def _emptied(files: Iterable[Path]) -> None:
    for path in files:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def _disk_rate(path: Path) -> float:
    """Bytes per second of reading 512 MB past the cache, 4 MB at a time in two requests."""
    import mmap
    from concurrent.futures import ThreadPoolExecutor

    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    places = range(0, min(path.stat().st_size // _CHUNK, 128) * _CHUNK, _CHUNK)
    memory = [mmap.mmap(-1, _CHUNK) for _ in range(2)]

    def read(lane: int) -> None:
        for place in places[lane::2]:
            os.preadv(file, [memory[lane]], place)

    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, range(2)))
    seconds = time.perf_counter() - start
    os.close(file)
    return len(places) * _CHUNK / seconds


def _decode(module: Any, files: list[Path], watch: MemoryWatch) -> dict[str, Any]:
    """Greedy tokens, the last logits of the prompt, seconds and bytes from the disk of each token after the
    first."""
    import torch

    ids, cache, tokens, seconds, read = torch.tensor([_PROMPT]), None, [], [], []
    first: list[float] = []
    end = watch.begin(files)
    with torch.inference_mode():
        for _ in range(_TOKENS):
            _emptied(files)
            before, start = counter("io", "read_bytes"), time.perf_counter()
            output = module(input_ids=ids, past_key_values=cache, use_cache=True)
            seconds.append(time.perf_counter() - start)
            read.append(counter("io", "read_bytes") - before)
            logits, cache = output.logits[0, -1].float(), output.past_key_values
            first = first or logits.tolist()
            tokens.append(int(logits.argmax()))
            ids = torch.tensor([tokens[-1:]])
    end()
    return {
        "tokens": tokens, "logits": first, "seconds": seconds[1:], "read": read[1:],
        "own": watch.own, "cached": watch.cached,
    }  # fmt: skip


def _ours(folder: Path, limit: int) -> dict[str, Any]:
    """The block reader of layer-streaming with as many resident blocks as the limit has room for."""
    import torch
    import transformers  # noqa: F401  # before the watch begins

    from tiku.runtimes._streaming import blocks_of, stream
    from tiku.runtimes._torch_loading import load_module

    watch = MemoryWatch()
    module = load_module(folder, "causal-lm", "bfloat16")
    _, blocks = blocks_of(module)
    block = sum(2 * weight.numel() for weight in blocks[0].parameters())
    rest = sum(2 * weight.numel() for weight in module.parameters()) - block * len(blocks)
    resident = max(0, (limit - rest) // block - 2)
    streamer = stream(module, folder, resident, torch.bfloat16)
    found = _decode(module, list(folder.glob("*.safetensors")), watch)
    if streamer is not None:
        streamer.close()
    return {**found, "resident": resident}


def _peer(folder: Path, limit: int) -> dict[str, Any]:
    """As Accelerate's guide to big models sets it up: what does not fit `max_memory` goes to the disk."""
    import torch
    import transformers

    watch = MemoryWatch()
    with tempfile.TemporaryDirectory(dir=folder) as offloaded:
        module = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, device_map="auto", max_memory={"cpu": limit},
            offload_folder=offloaded,
        )  # fmt: skip
        files = [*folder.glob("*.safetensors"), *Path(offloaded).rglob("*.dat")]
        places = list(module.hf_device_map.values())
        return {**_decode(module.eval(), files, watch), "on_disk": places.count("disk"), "parts": len(places)}


def _turn(side: str, folder: Path, limit: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.offload", side, str(folder), str(limit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{side}: {answer['seconds']} s per token", file=sys.stderr)
    return answer


def _same(ours: dict[str, Any], peer: dict[str, Any]) -> str:
    import numpy as np

    mine, theirs = np.array(ours["logits"]), np.array(peer["logits"])
    away = float(np.abs(mine - theirs).max() / np.abs(theirs).max())
    if ours["tokens"] != peer["tokens"] or away > _TOLERANCE:
        raise AssertionError(f"tokens {ours['tokens']} and {peer['tokens']}, logits differ by {away:.1e}")
    return f"{_TOKENS} greedy tokens equal, logits differ by {away:.1e} of the largest"


def _told(shares: list[float]) -> str:
    return f"{statistics.median(shares):.2f}"


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def rows(pairs: int) -> Iterator[Row]:
    """One case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = _make(folder)
        limit = int(_SHARE * weights)
        mine: list[float] = []
        theirs: list[float] = []
        shares: tuple[list[float], list[float]] = ([], [])
        for _ in range(pairs):
            before = _disk_rate(next(folder.glob("*.safetensors")))
            ours, peer = _turn("ours", folder, limit), _turn("peer", folder, limit)
            mine.append(len(ours["seconds"]) / sum(ours["seconds"]))
            theirs.append(len(peer["seconds"]) / sum(peer["seconds"]))
            disk = (before + _disk_rate(next(folder.glob("*.safetensors")))) / 2
            for rates, side in zip(shares, (ours, peer), strict=True):
                rates.append(sum(side["read"]) / sum(side["seconds"]) / disk)
        work = (
            f"{_same(ours, peer)}; read at {_told(shares[0])} of the disk's rate, peer {_told(shares[1])}"
            f" ({disk / 1e9:.2f} GB/s last); per token {_mb(ours['read'][-1])}, peer {_mb(peer['read'][-1])};"
            f" at most in memory {_mb(ours['own'])} + {_mb(ours['cached'])} of cache,"
            f" peer {_mb(peer['own'])} + {_mb(peer['cached'])}; peer has {peer['on_disk']} of {peer['parts']}"
            " parts on disk"
        )
        threads = os.environ["OMP_NUM_THREADS"]
        case = f"1.1 B-parameter Llama in bf16, {limit / 1e6:.0f} of {weights / 1e6:.0f} MB in memory, "
        yield paired_row(
            f"{case}{threads} threads", mine, theirs, work,
            peer_package="accelerate", unit="tokens/s", higher_is_better=True,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] in (["ours"], ["peer"]):
        side = _ours if sys.argv[1] == "ours" else _peer
        print(json.dumps(side(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        limit_threads(min(2, os.cpu_count() or 1))
        run("offload", rows, pairs=6)
