"""A decoder in ONNX Runtime: its export, and the session that feeds the cache back without copying it.

B batch, T tokens, R positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.runtimes._language import FIXED, Decoder, whole_text
from tiku.runtimes._onnx_graph import Traced
from tiku.runtimes._onnx_session import OnnxRuntimeSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LANGUAGE_FORWARD", "OnnxLanguageSession", "traced_decoder"]

LANGUAGE_FORWARD = """\
import numpy as np


def forward(model, inputs):
    ids = inputs["input_ids"]
    given = dict(input_ids=ids, attention_mask=np.ones_like(ids), logits_to_keep=np.arange(ids.shape[1]))
    given.update((name, inputs[name]) for name in inputs if name in given)
    feeds = {}
    for node in model.get_inputs():  # the cache is empty: the whole text is computed at once
        empty = lambda: np.zeros((len(ids), node.shape[1], 0, node.shape[3]), dtype=np.float32)
        feeds[node.name] = given[node.name] if node.name in given else empty()
    return model.run(["logits"], feeds)[0]
"""

_AXES = {
    "input_ids": {0: "batch", 1: "tokens"},
    "attention_mask": {0: "batch", 1: "total"},
    "logits_to_keep": {0: "kept"},
    "logits": {0: "batch", 1: "kept"},
}


def traced_decoder(decoder: Decoder) -> Traced:
    """The decoder with its inputs and outputs named."""
    axes: dict[str, Mapping[int, str]] = dict(_AXES)
    axes.update((name, {0: "batch", 2: "past"}) for name in decoder.past)
    axes.update((name, {0: "batch", 2: "total"}) for name in decoder.present)
    return Traced(
        decoder.module, decoder.example, (*FIXED, *decoder.past), ("logits", *decoder.present), axes
    )


@dataclass(frozen=True, eq=False)
class _Cache:
    """Keys and values as ONNX Runtime gave them. Never changed: a longer text gets arrays of its own."""

    parts: Sequence[Any]
    tokens: int

    def __deepcopy__(self, memo: dict[int, Any]) -> _Cache:
        return self


class OnnxLanguageSession(OnnxRuntimeSession):
    """Runs a decoder. The cache stays in ONNX Runtime's own arrays: what one call gave, the next reads."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        nodes = {node.name: node.shape for node in self._session.get_inputs()}
        self._past = {name: shape for name, shape in nodes.items() if name not in FIXED}
        self._outputs = [node.name for node in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        fed = whole_text(inputs, self._names)
        past = self._empty(len(inputs["input_ids"]))
        (logits,) = self._run(["logits"], fed, past)
        array: NDArray[np.float32] = logits.numpy()
        return array

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        import numpy as np

        batch, count = tokens_BT.shape
        before = cache or _Cache(self._empty(batch), 0)
        total = before.tokens + count
        given = {
            "input_ids": np.ascontiguousarray(tokens_BT, dtype=np.int64),
            "attention_mask": np.ones((batch, total), dtype=np.int64),
            "logits_to_keep": np.arange(count - 1 if last_only else 0, count),
        }
        fed = {name: given[name] for name in FIXED if name in self._names}
        logits, *parts = self._run(self._outputs, fed, before.parts)
        return logits.numpy(), _Cache(parts, total)

    def crop(self, cache: Any, length: int) -> Any:
        import numpy as np
        from onnxruntime import OrtValue

        if length > cache.tokens:
            raise ValueError(f"a cache of {cache.tokens} tokens cannot be cut to {length}")
        if length == cache.tokens:
            return cache
        kept = (np.ascontiguousarray(part.numpy()[:, :, :length]) for part in cache.parts)
        return _Cache([OrtValue.ortvalue_from_numpy(array) for array in kept], length)

    def _run(self, outputs: list[str], fed: Mapping[str, NDArray[Any]], past: Sequence[Any]) -> list[Any]:
        from onnxruntime import OrtValue

        feeds = {name: OrtValue.ortvalue_from_numpy(array) for name, array in fed.items()}
        feeds.update(zip(self._past, past, strict=True))
        found: list[Any] = self._session.run_with_ort_values(outputs, feeds)
        return found

    def _empty(self, batch: int) -> list[Any]:
        import numpy as np
        from onnxruntime import OrtValue

        shapes = ((batch, heads, 0, width) for _, heads, _, width in self._past.values())
        return [OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=np.float32)) for shape in shapes]
