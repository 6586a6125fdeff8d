"""llama.cpp in an environment of its own: reads one JSON request a line, answers with one JSON line.

`python bench/_llama_peer.py MODEL.gguf THREADS`; needs llama-cpp-python alone. One request at a time through
`Llama` as it is set up by default, several at once through `llama_batch`. `seconds` leave out the pipe.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray


class Peer:
    """The model, and a context for several requests at once."""

    def __init__(self, path: str, threads: int) -> None:
        self.threads = threads
        self.llm = llama_cpp.Llama(path, n_threads=threads, n_threads_batch=threads, verbose=False)
        self.vocabulary = self.llm.n_vocab()
        self._together: tuple[Any, tuple[int, int, bool]] | None = None

    def decode(self, prompts: Sequence[Sequence[int]], new: int) -> dict[str, Any]:
        """Greedy, one after the other: `seconds` from the first new token of each to the one `new` tokens
        after it."""
        seconds, tokens = 0.0, []
        for prompt in prompts:
            self.llm.reset()
            stream = self.llm.generate(prompt, temp=0.0)
            made = [next(stream)]
            start = time.perf_counter()
            made += [next(stream) for _ in range(new)]
            seconds += time.perf_counter() - start
            tokens.append(made)
        return {"seconds": seconds, "tokens": tokens}

    def prefill(self, tokens: Sequence[int]) -> dict[str, Any]:
        """The logits after a text."""
        self.llm.reset()
        start = time.perf_counter()
        self.llm.eval(tokens)
        logits = self._logits(self.llm.ctx, 1)
        return {"seconds": time.perf_counter() - start, "next": int(logits[0].argmax())}

    def together(self, prompts: Sequence[Sequence[int]], new: int, unified: bool) -> dict[str, Any]:
        """Greedy, prompts of one length, all in each batch; one cache for all or one for each."""
        context = self._context(len(prompts), len(prompts[0]) + new, unified)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)
        start = time.perf_counter()
        feed, position = [list(prompt) for prompt in prompts], 0
        made: list[list[int]] = [[] for _ in prompts]
        for _ in range(new):
            logits = self._feed(context, feed, position, every=False)
            position += len(feed[0])
            chosen = logits.argmax(axis=1).tolist()
            feed = [[token] for token in chosen]
            for row, token in zip(made, chosen, strict=True):
                row.append(token)
        return {"seconds": time.perf_counter() - start, "tokens": made}

    def nats(self, windows: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The sum of -log p(token | tokens before it in its window), and how many tokens that are."""
        total = 0.0
        for window in windows:
            self.llm.reset()
            memory = llama_cpp.llama_get_memory(self.llm.ctx)
            llama_cpp.llama_memory_clear(memory, False)
            logits = self._feed(self.llm.ctx, [list(window)], 0, every=True)[:-1].astype(np.float64)
            top = logits.max(axis=1)
            norm = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
            total += float((norm - logits[np.arange(len(logits)), window[1:]]).sum())
        self.llm.reset()
        return {"nats": total, "tokens": sum(len(window) - 1 for window in windows)}

    def _context(self, rows: int, longest: int, unified: bool) -> Any:
        wanted = (rows, longest, unified)
        if self._together is None or self._together[1] != wanted:
            if self._together is not None:
                llama_cpp.llama_free(self._together[0])
            settings = llama_cpp.llama_context_default_params()
            settings.n_ctx, settings.n_seq_max, settings.kv_unified = rows * longest, rows, unified
            settings.n_batch = settings.n_ubatch = 512
            settings.n_threads = settings.n_threads_batch = self.threads
            settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # as `Llama` has it
            self._together = (llama_cpp.llama_init_from_model(self.llm.model, settings), wanted)
        return self._together[0]

    def _feed(
        self, context: Any, rows: Sequence[Sequence[int]], position: int, *, every: bool
    ) -> NDArray[np.float32]:
        """logits after each row's last token, or at every token."""
        count = sum(len(row) for row in rows)
        batch = llama_cpp.llama_batch_init(count, 0, 1)
        batch.n_tokens = count
        at = 0
        for number, row in enumerate(rows):
            for place, token in enumerate(row):
                batch.token[at], batch.pos[at] = token, position + place
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, number
                batch.logits[at] = every or place == len(row) - 1
                at += 1
        failed = llama_cpp.llama_decode(context, batch)
        llama_cpp.llama_batch_free(batch)
        if failed:
            raise RuntimeError(f"llama_decode gave {failed} for {count} tokens")
        return self._logits(context, count if every else len(rows))

    def _logits(self, context: Any, rows: int) -> NDArray[np.float32]:
        address = ctypes.cast(llama_cpp.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(address, shape=(rows, self.vocabulary))


def main() -> None:
    """Answer until the input ends. Nothing but answers goes to the standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({"version": llama_cpp.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(peer, request.pop("do"))(**request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
