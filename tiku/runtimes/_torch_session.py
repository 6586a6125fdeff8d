"""A torch module that runs: eager or compiled, on the CPU or a GPU."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError, CannotMeasure
from tiku.core.subject import Rows, Session
from tiku.runtimes._cropping import crop_cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TorchSession", "resolve_device"]

# What the state is called that a forward pass takes and gives: attention, Mamba, RWKV.
_CACHES = ("past_key_values", "cache_params", "state")


def resolve_device(device: str) -> str:
    """ "auto" becomes "cuda" where there is a GPU, else "cpu". Raises `ArtefactError`."""
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not available):
        raise ArtefactError(
            "there is no such device here",
            got=device,
            allowed="auto, cpu, cuda" if available else "auto, cpu",
            next_step="leave the device at auto",
        )
    return device


class TorchSession(Session):
    """Runs `module`. `call` is what is called: the module itself, or its compiled form.

    A recurrent state is carried from token to token: recurrent layers start anew when they are given
    several at once.

    The thread count is torch's own and belongs to the calling thread, so it is set again before each run:
    two sessions with different counts can alternate, and `streams` callers have their share each. `close`
    puts back the count found at the start.
    """

    def __init__(
        self,
        runtime: str,
        module: Any,
        *,
        threads: int,
        device: str,
        call: Any = None,
        cache_format: str = "fp32",
        cache_tokens: int = 1024,
        streams: int = 1,
    ) -> None:
        import torch

        self.runtime = runtime
        self.cache_format, self.cache_tokens = cache_format, cache_tokens
        self.device = resolve_device(device)
        self.streams = min(streams, threads) if self.device == "cpu" else 1
        self.module = module.to(self.device)
        self._call = self.module if call is None else call
        self._threads = threads // self.streams
        self._threads_before = torch.get_num_threads()
        accepted = inspect.signature(module.forward).parameters
        self._cache = next((name for name in _CACHES if name in accepted), None)
        self._last_only = next((n for n in ("logits_to_keep", "num_logits_to_keep") if n in accepted), None)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import torch

        self._set_threads()
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
            return self._to_numpy(self._call(**tensors))

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        import numpy as np
        import torch

        if self._cache is None or not getattr(getattr(self.module, "config", None), "use_cache", False):
            raise self._no_cache("set use_cache in config.json, or choose a model that can")
        self._set_threads()
        cache = self._empty_cache() if cache is None else cache
        tokens = tokens_BT.shape[1]
        one_by_one = cache is not None and getattr(self.module, "_is_stateful", False)
        logits = []
        with torch.inference_mode():
            for part in np.array_split(tokens_BT, tokens, axis=1) if one_by_one else [tokens_BT]:
                made, cache = self._step(part, cache, last_only=last_only)
                logits.append(made)
        joined = np.concatenate(logits, axis=1)
        return (joined[:, -1:] if last_only else joined), cache

    def _empty_cache(self) -> Any:
        """None: the model makes its own."""
        if self.cache_format == "fp32":
            return None
        if self.cache_format == "static":
            from tiku.runtimes._static_cache import StaticCache

            return StaticCache(self.cache_tokens)
        from tiku.runtimes._int8_cache import Int8Cache

        return Int8Cache()

    def crop(self, cache: Any, length: int) -> Any:
        return crop_cache(self.module, cache, length)

    def early_exit(self, layers: int) -> TorchSession:
        from tiku.runtimes._early_exit import first_layers

        view = first_layers(self.module, layers)
        return TorchSession(
            self.runtime,
            view,
            threads=self._threads,
            device=self.device,
            cache_format=self.cache_format,
            cache_tokens=self.cache_tokens,
        )

    def rows(self, longest: Sequence[int]) -> Rows:
        from tiku.runtimes._torch_rows import TorchRows

        return TorchRows(self.module, self._forward_rows, self.device, longest, self.cache_format)

    def _forward_rows(self, inputs: Mapping[str, Any]) -> NDArray[np.float32]:
        import torch

        self._set_threads()
        keep = {self._last_only: 1} if self._last_only else {}
        with torch.inference_mode():
            return self._to_numpy(self._call(**inputs, use_cache=True, **keep))[:, -1]

    def _step(
        self, tokens_BT: NDArray[np.int64], cache: Any, *, last_only: bool
    ) -> tuple[NDArray[np.float32], Any]:
        import torch

        assert self._cache is not None
        keep = {self._last_only: 1} if last_only and self._last_only else {}
        ids = torch.from_numpy(tokens_BT).to(self.device)
        output = self._call(input_ids=ids, use_cache=True, **{self._cache: cache}, **keep)
        after = getattr(output, self._cache, None)
        if after is None:  # RecurrentGemma keeps its state in its own layers
            raise self._no_cache("choose a model that hands its cache out")
        return self._to_numpy(output), after

    def _no_cache(self, next_step: str) -> CannotMeasure:
        return CannotMeasure(
            "this model keeps no key/value cache", got=type(self.module).__name__, next_step=next_step
        )

    def close(self) -> None:
        import torch

        torch.set_num_threads(self._threads_before)

    def _set_threads(self) -> None:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _to_numpy(self, output: Any) -> NDArray[np.float32]:
        logits = output if hasattr(output, "detach") else output.logits
        array: NDArray[np.float32] = logits.float().cpu().numpy()
        return array
