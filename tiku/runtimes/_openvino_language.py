"""A decoder in OpenVINO: the cache is the state of an inference request, joined to by the attention itself.

B batch, T tokens, V vocabulary. The input `beam_idx` (B,) says which row of the cache each row goes on from;
the plugin looks for it when it fuses cache and attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.runtimes._language import FIXED, Decoder, whole_text
from tiku.runtimes._openvino_session import OpenVinoSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LANGUAGE_FORWARD", "OpenVinoLanguageSession", "converted_decoder"]

_ROWS = "beam_idx"

LANGUAGE_FORWARD = """\
def forward(model, inputs):
    ids = inputs["input_ids"]
    given = dict(input_ids=ids, attention_mask=np.ones_like(ids), logits_to_keep=np.arange(ids.shape[1]))
    given.update((name, inputs[name]) for name in inputs if name in given)
    given["beam_idx"] = np.arange(len(ids), dtype=np.int32)
    names = [node.get_any_name() for node in model.inputs]
    request = model.create_infer_request()  # its cache is empty
    return np.array(request.infer({name: given[name] for name in names})["logits"])
"""


def converted_decoder(decoder: Decoder) -> Any:
    """Inputs `FIXED` and `beam_idx`, output `logits`; the model keeps its cache itself."""
    import openvino

    whole, some = openvino.PartialShape([-1, -1]), openvino.PartialShape([-1])
    shapes: list[Any] = [(shape, openvino.Type.i64) for shape in (whole, whole, some)]
    for part in decoder.example[len(FIXED) :]:
        past = openvino.PartialShape([-1, part.shape[1], -1, part.shape[3]])
        shapes.append((past, openvino.Type.f32))
    model = openvino.convert_model(decoder.module, example_input=decoder.example, input=shapes)
    for ports, names in (
        (model.inputs, (*FIXED, *decoder.past)),
        (model.outputs, ("logits", *decoder.present)),
    ):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    _keep_cache(model, decoder.past, decoder.present)
    return model


def _keep_cache(model: Any, past: Sequence[str], present: Sequence[str]) -> None:
    """Turn the cache's inputs and outputs into state: empty for as many rows as there are texts."""
    import numpy as np
    import openvino.opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    rows = ops.parameter([-1], np.int32, name=_ROWS)
    rows.output(0).get_tensor().set_names({_ROWS})
    model.add_parameters([rows])
    for name in past:
        users = model.input(name).get_target_inputs()
        chosen = ops.gather(model.input(name), rows, ops.constant(0, np.int64))
        for user in users:
            user.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, dict(zip(past, present, strict=True)))
    batch = ops.slice(ops.shape_of(model.input(FIXED[0]), "i64"), *(ops.constant([n]) for n in (0, 1, 1)))
    for state in [op for op in model.get_ops() if op.get_type_name() == "ReadValue"]:
        _, heads, _, width = state.get_output_partial_shape(0)
        empty = ops.constant(np.array([heads.get_length(), 0, width.get_length()], dtype=np.int64))
        nothing = ops.broadcast(ops.constant(np.float32(0)), ops.concat([batch, empty], 0))
        state.set_arguments([nothing])
    model.validate_nodes_and_infer_types()


@dataclass(eq=False)
class _Cache:
    """A request whose state is the cache; it goes back to the session's spare ones when nobody needs it."""

    session: OpenVinoLanguageSession
    request: Any
    tokens: int

    def __deepcopy__(self, memo: dict[int, Any]) -> _Cache:
        other = self.session.empty()
        stored = {state.name: state.state for state in self.request.query_state()}
        for state in other.request.query_state():
            state.state = stored[state.name]
        other.tokens = self.tokens
        return other

    def __del__(self) -> None:
        self.session.take_back(self.request)


class OpenVinoLanguageSession(OpenVinoSession):
    """Runs a decoder. A cache is changed in place; each one that lives at the same time has a request of its
    own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._spare = [self._request]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return self._infer(self.empty(), whole_text(inputs, self._names))

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        import numpy as np

        batch, count = tokens_BT.shape
        before = cache or self.empty()
        before.tokens += count
        given = {
            "input_ids": tokens_BT,
            "attention_mask": np.ones((batch, before.tokens), dtype=np.int64),
            "logits_to_keep": np.arange(count - 1 if last_only else 0, count),
        }
        return self._infer(before, {name: given[name] for name in FIXED if name in self._names}), before

    def crop(self, cache: Any, length: int) -> Any:
        import numpy as np
        import openvino

        if length > cache.tokens:
            raise ValueError(f"a cache of {cache.tokens} tokens cannot be cut to {length}")
        if length < cache.tokens:
            for state in cache.request.query_state():
                state.state = openvino.Tensor(np.ascontiguousarray(state.state.data[:, :, :length]))
            cache.tokens = length
        return cache

    def empty(self) -> _Cache:
        """The cache before any text."""
        request = self._spare.pop() if self._spare else self._compiled.create_infer_request()
        request.reset_state()
        return _Cache(self, request, 0)

    def take_back(self, request: Any) -> None:
        """A request that nobody needs any more."""
        if hasattr(self, "_compiled"):  # else the session is closed
            self._spare.append(request)

    def close(self) -> None:
        self._spare.clear()
        super().close()

    def _infer(self, cache: _Cache, fed: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        import numpy as np

        rows = np.arange(len(fed["input_ids"]), dtype=np.int32)
        outputs = cache.request.infer({**fed, _ROWS: rows}, share_inputs=True)
        logits: NDArray[np.float32] = np.array(outputs[0])  # the request reuses its own buffer
        return logits
