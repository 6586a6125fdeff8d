"""A model that does not fit: layer-streaming against Accelerate's disk offload, tokens per second.

A random Llama in bf16 with TinyLlama's shape (1.1 B parameters) may keep a quarter of its weights in memory.
Ours streams it as it is, and rounded to 8 bits per output; the peer's turn counts for both.
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
from bench._offloaded_model import SHAPE, compare_texts, make, round_to_int8, write_text_logits
from bench._pairs import Row, limit_threads, paired_row, run

_SHARE = 0.25  # of the weights
_PROMPT = list(range(100, 116))
_TOKENS = 3  # of a turn; the first, which reads the prompt, is not timed
_TOLERANCE = 0.02  # of the largest logit: bf16 keeps 8 bits
_CHUNK = 4 << 20


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
    _emptied(files)
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


def _ours(folder: Path, limit: int, text: Path | None) -> dict[str, Any]:
    """The block reader of layer-streaming with as many resident blocks as the limit has room for."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401  # no weights of ours

    from tiku.runtimes._streaming import blocks_of, stream
    from tiku.runtimes._torch_loading import load_module

    watch = MemoryWatch()
    module = load_module(folder, "causal-lm", "bfloat16")
    _, blocks = blocks_of(module)
    block = sum(tensor.nbytes for tensor in blocks[0].state_dict().values())
    # The embedding is mapped: it takes the rows that are looked up.
    whole = sum(tensor.nbytes for n, tensor in module.state_dict().items() if "embed_tokens" not in n)
    rest = whole - block * len(blocks)
    resident = max(0, (limit - rest) // block - 2)
    streamer = stream(module, folder, resident, torch.bfloat16)
    found = _decode(module, list(folder.glob("*.safetensors")), watch)
    if text:
        write_text_logits(module, text)
    if streamer is not None:
        streamer.close()
    return {**found, "resident": resident}


def _peer(folder: Path, limit: int, text: Path | None) -> dict[str, Any]:
    """As Accelerate's guide to big models sets it up: what does not fit `max_memory` goes to the disk."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401  # before the watch begins

    watch = MemoryWatch()
    with tempfile.TemporaryDirectory(dir=folder) as offloaded:
        module = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, device_map="auto", max_memory={"cpu": limit},
            offload_folder=offloaded,
        )  # fmt: skip
        files = [*folder.glob("*.safetensors"), *Path(offloaded).rglob("*.dat")]
        places = list(module.hf_device_map.values())
        found = _decode(module.eval(), files, watch)
        if text:
            write_text_logits(module, text)
        return {**found, "on_disk": places.count("disk"), "parts": len(places)}


def _turn(side: str, folder: Path, limit: int, text: Path | None = None) -> dict[str, Any]:
    """One process; it writes what it says of the random text to `text`, after the tokens."""
    command = [
        sys.executable,
        "-m",
        "bench.offload",
        side,
        str(folder),
        str(limit),
        *([str(text)] * bool(text)),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{side} of {folder.name}: {answer['seconds']} s per token", file=sys.stderr)
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


def _rate(side: dict[str, Any]) -> float:
    """Tokens per second."""
    return len(side["seconds"]) / sum(side["seconds"])


def _work(same: str, turns: list[dict[str, dict[str, Any]]], disks: list[float], name: str) -> str:
    """What the last column says of our side of that name and the peer."""
    shares: dict[str, list[float]] = {
        side: [
            sum(turn[side]["read"]) / sum(turn[side]["seconds"]) / disk
            for turn, disk in zip(turns, disks, strict=True)
        ]
        for side in (name, "peer")
    }
    ours, peer = turns[-1][name], turns[-1]["peer"]
    return (
        f"{same}; read at {_told(shares[name])} of the disk's rate, peer {_told(shares['peer'])}"
        f" ({disks[-1] / 1e9:.2f} GB/s last); per token {_mb(ours['read'][-1])},"
        f" peer {_mb(peer['read'][-1])};"
        f" at most in memory {_mb(ours['own'])} + {_mb(ours['cached'])} of cache,"
        f" peer {_mb(peer['own'])} + {_mb(peer['cached'])}; ours has"
        f" {ours['resident']} of {SHAPE['num_hidden_layers']} blocks in memory,"
        f" peer {peer['on_disk']} of {peer['parts']} parts on disk"
    )


def _pair(folder: Path, rounded: Path, limit: int, texts: bool) -> tuple[dict[str, dict[str, Any]], float]:
    """A turn of each side, and the disk's rate around them."""
    weights = next(folder.glob("*.safetensors"))
    before = _disk_rate(weights)
    turn = {
        "ours": _turn("ours", folder, limit),
        "peer": _turn("peer", folder, limit, folder / "peer.npy" if texts else None),
        "rounded": _turn("ours", rounded, limit, folder / "ours.npy" if texts else None),
    }
    return turn, (before + _disk_rate(weights)) / 2


def rows(pairs: int) -> Iterator[Row]:
    """Two cases: the weights as they are, and in 8 bits."""
    with tempfile.TemporaryDirectory() as name:
        folder, rounded = Path(name, "bf16"), Path(name, "int8")
        weights = make(folder)
        round_to_int8(folder, rounded)
        limit = int(_SHARE * weights)
        found = [_pair(folder, rounded, limit, texts=number == 0) for number in range(pairs)]
        close = compare_texts(folder / "ours.npy", folder / "peer.npy")
    turns, disks = [turn for turn, _ in found], [disk for _, disk in found]
    peer = [_rate(turn["peer"]) for turn in turns]
    threads = os.environ["OMP_NUM_THREADS"]
    case = f"1.1 B-parameter Llama in bf16, {limit / 1e6:.0f} of {weights / 1e6:.0f} MB in memory"
    same = _same(turns[-1]["ours"], turns[-1]["peer"])
    for side, how, work in (("ours", "", same), ("rounded", ", ours stored in 8 bits", close)):
        told, mine = _work(work, turns, disks, side), [_rate(turn[side]) for turn in turns]
        yield paired_row(
            f"{case}{how}, {threads} threads", mine, peer, told,
            peer_package="accelerate", unit="tokens/s", higher_is_better=True,
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] in (["ours"], ["peer"]):
        side = _ours if sys.argv[1] == "ours" else _peer
        text = Path(sys.argv[4]) if len(sys.argv) > 4 else None
        print(json.dumps(side(Path(sys.argv[2]), int(sys.argv[3]), text)))
    else:
        limit_threads(min(2, os.cpu_count() or 1))
        run("offload", rows, pairs=6)
