"""A decoder in ONNX Runtime: its export, and the session that feeds the cache back without copying it.

B batch, T tokens, R positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.subject import Rows
from tiku.runtimes._language import FIXED, Decoder, whole_text
from tiku.runtimes._onnx_attention import POSITIONS
from tiku.runtimes._onnx_cache import InPlaceCache, OnnxRows, bind_cache
from tiku.runtimes._onnx_graph import Traced
from tiku.runtimes._onnx_session import OnnxRuntimeSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "FROM_MASK",
    "IN_PLACE",
    "LANGUAGE_FORWARD",
    "RAGGED",
    "OnnxLanguageSession",
    "traced_decoder",
]

IN_PLACE, RAGGED = "tiku.cache_in_place", "tiku.rows_of_any_length"  # metadata of graphs that can
FROM_MASK = "tiku.places_from_mask"  # … of those whose positions begin where the mask does

LANGUAGE_FORWARD = """\
import numpy as np


def forward(model, inputs):
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask", np.ones_like(ids))
    given = dict(input_ids=ids, attention_mask=mask, logits_to_keep=np.arange(ids.shape[1]))
    counted = mask if "FROM_MASK" in model.get_modelmeta().custom_metadata_map else np.ones_like(ids)
    given["position_ids"] = np.maximum(counted.cumsum(axis=1) - 1, 0)
    feeds = {}
    for node in model.get_inputs():  # the cache is empty: the whole text is computed at once
        empty = lambda: np.zeros((len(ids), node.shape[1], 0, node.shape[3]), dtype=np.float32)
        feeds[node.name] = given[node.name] if node.name in given else empty()
    return model.run(["logits"], feeds)[0]
""".replace("FROM_MASK", FROM_MASK)

_AXES = {
    "input_ids": {0: "batch", 1: "tokens"},
    "attention_mask": {0: "batch", 1: "total"},
    "logits_to_keep": {0: "kept"},
    "position_ids": {0: "batch", 1: "tokens"},
    "logits": {0: "batch", 1: "kept"},
}


def traced_decoder(decoder: Decoder) -> Traced:
    """The decoder with its inputs and outputs named."""
    axes: dict[str, Mapping[int, str]] = {
        name: names for name, names in _AXES.items() if name in (*decoder.fixed, "logits")
    }
    axes.update((name, {0: "batch", 2: "past"}) for name in decoder.past)
    axes.update((name, {0: "batch", 2: "total"}) for name in decoder.present)
    return Traced(
        decoder.module, decoder.example, (*decoder.fixed, *decoder.past), ("logits", *decoder.present), axes
    )


@dataclass(frozen=True, eq=False)
class _Cache:
    """Keys and values as ONNX Runtime gave them. Never changed: a longer text gets arrays of its own."""

    parts: Sequence[Any]
    tokens: int

    def __deepcopy__(self, memo: dict[int, Any]) -> _Cache:
        return self


class OnnxLanguageSession(OnnxRuntimeSession):
    """Runs a decoder. Where its attention writes in place, a cache is buffers that it changes; else what one
    call gave stays in ONNX Runtime's own arrays, and the next reads it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        nodes = {node.name: node.shape for node in self._session.get_inputs()}
        self._past = {name: shape for name, shape in nodes.items() if name not in _AXES}
        self._outputs = [node.name for node in self._session.get_outputs()]
        self._facts = self._session.get_modelmeta().custom_metadata_map
        self._in_place = IN_PLACE in self._facts

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        fed = whole_text(inputs, self._names)
        if POSITIONS in self._names:
            fed[POSITIONS] = self._places(fed["attention_mask"])
        past = self._empty(len(inputs["input_ids"]))
        (logits,) = self._run(["logits"], fed, past)
        array: NDArray[np.float32] = logits.numpy()
        return array

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        import numpy as np

        batch, count = tokens_BT.shape
        kept = np.arange(count - 1 if last_only else 0, count)
        if self._in_place:
            held = cache or InPlaceCache(self, batch)
            return held.feed(tokens_BT, kept), held
        before = cache or _Cache(self._empty(batch), 0)
        total = before.tokens + count
        given = {
            "input_ids": np.ascontiguousarray(tokens_BT, dtype=np.int64),
            "attention_mask": np.ones((batch, total), dtype=np.int64),
            "logits_to_keep": kept,
        }
        fed = {name: given[name] for name in FIXED if name in self._names}
        logits, *parts = self._run(self._outputs, fed, before.parts)
        return logits.numpy(), _Cache(parts, total)

    def crop(self, cache: Any, length: int) -> Any:
        import numpy as np
        from onnxruntime import OrtValue

        if length > cache.tokens:
            raise ValueError(f"a cache of {cache.tokens} tokens cannot be cut to {length}")
        if self._in_place:
            cache.cut(length)
        if length == cache.tokens:
            return cache
        kept = (np.ascontiguousarray(part.numpy()[:, :, :length]) for part in cache.parts)
        return _Cache([OrtValue.ortvalue_from_numpy(array) for array in kept], length)

    def rows(self, longest: Sequence[int]) -> Rows:
        if RAGGED not in self._facts:
            return super().rows(longest)
        return OnnxRows(self, longest)

    def buffers(self, rows: int, room: int) -> list[NDArray[np.float32]]:
        """Empty buffers for `room` tokens of each row, keys and values of every layer."""
        import numpy as np

        shapes = ((rows, heads, room, width) for _, heads, _, width in self._past.values())
        return [np.zeros(shape, dtype=np.float32) for shape in shapes]

    def bound(self, buffers: Sequence[NDArray[np.float32]]) -> Any:
        """What `forward` needs to run over these buffers."""
        return bind_cache(self._session, list(self._past), buffers)

    def forward(
        self,
        bound: Any,
        tokens_RT: NDArray[np.int64],
        mask_RS: NDArray[np.int64],
        places_RT: NDArray[np.int64],
        kept_K: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """logits_RKV; the new keys and values are in the buffers then."""
        import numpy as np

        given = (tokens_RT, mask_RS, kept_K, places_RT)
        for name, array in zip((*FIXED, POSITIONS), given, strict=True):
            if name in self._names:
                bound.bind_cpu_input(name, np.ascontiguousarray(array, dtype=np.int64))
        bound.bind_output("logits")
        self._session.run_with_iobinding(bound)
        logits: NDArray[np.float32] = bound.get_outputs()[-1].numpy()
        return logits

    def _places(self, mask_BT: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions as the module counts them by itself."""
        import numpy as np

        counted = mask_BT if FROM_MASK in self._facts else np.ones_like(mask_BT)
        places: NDArray[np.int64] = np.maximum(counted.cumsum(axis=1) - 1, 0)
        return places

    def _run(self, outputs: list[str], fed: Mapping[str, NDArray[Any]], past: Sequence[Any]) -> list[Any]:
        from onnxruntime import OrtValue

        feeds = {name: OrtValue.ortvalue_from_numpy(array) for name, array in fed.items()}
        feeds.update(zip(self._past, past, strict=True))
        found: list[Any] = self._session.run_with_ort_values(outputs, feeds)
        return found

    def _empty(self, batch: int) -> list[Any]:
        from onnxruntime import OrtValue

        return [OrtValue.ortvalue_from_numpy(array) for array in self.buffers(batch, 0)]
