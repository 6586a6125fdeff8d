"""A torch module of the user's own: `package.module:function` builds it together with its processor.

The function takes no argument, or `labels` (the data's classes), and returns one of

- a `tiku.core.subject.Subject`, ready made;
- `(model, tokenizer)` of transformers: a `…ForSequenceClassification` or `…ForCausalLM` model;
- `(module, processor)`: any `torch.nn.Module` that is called with the processor's arrays as keyword
  tensors and returns logits (a tensor, or an object with `.logits`). The processor has

  - `task`: "text-classification", "causal-lm", "image-classification" or "tabular-classification";
  - `labels`: class names in the order of the logits (optional: the data's order is taken);
  - `encode(inputs, max_length) -> list[dict[str, list[int]]]`: one unpadded encoding per input;
  - `collate(encodings) -> dict[str, numpy.ndarray]`: one padded batch;
  - `save(folder)` and `load(folder) -> processor` (optional: what it learned from data).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core.errors import ModelError
from tiku.core.family import Family
from tiku.core.files import write_json
from tiku.core.hashing import hash_of
from tiku.core.subject import Subject
from tiku.core.task import TASKS
from tiku.core.text import Text
from tiku.models import _huggingface, _reference
from tiku.models._padding import settle_side
from tiku.models._source import is_reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAMILY", "TorchModule"]

_NOTE = "reference.json"


class TorchModule(Family):
    """`module:function`. Saved as safetensors next to the reference, which is called again to load."""

    name: ClassVar[str] = "torch-module"
    task: ClassVar[str] = "any"  # the subject states it
    title: ClassVar[Text] = Text(
        "A torch module of your own (module:function)", "自己的 torch 模块（module:function）"
    )
    data_kinds: ClassVar[frozenset[str]] = frozenset({"labelled texts", "prose", "choices"})

    def recognises(self, source: str) -> bool:
        return is_reference(source)

    def load(self, source: str, *, labels: tuple[str, ...] = (), cache: Path, seed: int = 0) -> Subject:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = _reference.call(source, labels)
        subject = built if isinstance(built, Subject) else _subject(source, built)
        _check(source, subject)
        facts = {**subject.facts, "reference": source, "architecture": type(subject.module).__name__}
        facts["parameters"] = sum(p.numel() for p in subject.module.parameters())
        facts.setdefault("head", "kept")
        subject.module.eval()
        return replace(subject, labels=_agree(source, subject.labels, labels), facts=facts)

    def fingerprint(self, source: str) -> str:
        """SHA-256 over the reference and the built weights: only the function knows where they lie."""
        module = self.load(source, cache=Path()).module
        weights = {name: _digest(tensor) for name, tensor in module.state_dict().items()}
        return hash_of(source, type(module).__qualname__, weights)

    def save(self, subject: Subject, folder: Path) -> None:
        from safetensors.torch import save_model

        folder.mkdir(parents=True, exist_ok=True)
        save_model(subject.module, str(folder / "model.safetensors"))
        self.save_processor(subject, folder)

    def save_processor(self, subject: Subject, folder: Path) -> None:
        note = {"reference": subject.facts["reference"], "task": subject.task, "labels": subject.labels}
        write_json(folder / _NOTE, note)
        if hasattr(subject.processor, "save"):
            subject.processor.save(folder)

    def load_processor(self, folder: Path) -> Any:
        try:
            note = json.loads((folder / _NOTE).read_bytes())
            source, labels = str(note["reference"]), tuple(note["labels"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                "the folder does not say which function built the module",
                got=f"{folder / _NOTE}: {error}",
                allowed='a JSON object with "reference" and "labels"',
                next_step="save the artefact again",
            ) from error
        built = _reference.call(source, labels)
        processor = built.processor if isinstance(built, Subject) else _subject(source, built).processor
        return processor.load(folder) if hasattr(processor, "load") else processor

    def encode(
        self, processor: Any, inputs: Sequence[Any], max_length: int | None
    ) -> list[dict[str, list[int]]]:
        return list(processor.encode(inputs, max_length))

    def collate(
        self, processor: Any, encodings: Sequence[Mapping[str, list[int]]]
    ) -> dict[str, NDArray[Any]]:
        return dict(processor.collate(encodings))


def _digest(tensor: Any) -> str:
    """SHA-256 of the bytes of a tensor of any type (NumPy has no bfloat16)."""
    import hashlib

    import torch

    stored = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(stored.numpy().tobytes()).hexdigest()


def _subject(source: str, built: Any) -> Subject:
    """A subject from what the function returned. Raises `ModelError` when it is of another kind."""
    if not (isinstance(built, tuple) and len(built) == 2):
        raise _reference.unfit(source, f"{type(built).__name__}", "a Subject, or a pair (module, processor)")
    module, processor = built
    if hasattr(processor, "get_vocab") and hasattr(module, "config"):
        return _transformers_subject(source, module, processor)
    task = getattr(processor, "task", None)
    labels = tuple(map(str, getattr(processor, "labels", ())))
    return Subject(str(task), TorchModule.name, module, processor, labels=labels)


def _transformers_subject(source: str, module: Any, tokenizer: Any) -> Subject:
    kind = type(module).__name__
    labels: tuple[str, ...] = ()
    if kind.endswith("ForSequenceClassification"):
        task = "text-classification"
        labels = tuple(str(module.config.id2label[i]) for i in range(module.config.num_labels))
    elif kind.endswith(("ForCausalLM", "LMHeadModel")):
        task = "causal-lm"
    else:
        raise _reference.unfit(source, kind, "a …ForSequenceClassification or …ForCausalLM model")
    _huggingface.fit_tokenizer(tokenizer, module, Path())
    module.config.pad_token_id = tokenizer.pad_token_id
    facts = {"max_length": tokenizer.model_max_length}
    if task == "text-classification":
        facts |= settle_side(tokenizer, module.eval())
    return Subject(task, task, module, tokenizer, labels=labels, facts=facts)


def _check(source: str, subject: Subject) -> None:
    import torch

    if not isinstance(subject.module, torch.nn.Module):
        raise _reference.unfit(
            source, f"a module of type {type(subject.module).__name__}", "a torch.nn.Module"
        )
    if subject.task not in TASKS:
        raise _reference.unfit(source, f"task {subject.task}", f"processor.task one of {', '.join(TASKS)}")
    lacking = [name for name in ("encode", "collate") if not callable(getattr(subject.processor, name, None))]
    if subject.family == TorchModule.name and lacking:
        kind = type(subject.processor).__name__
        raise _reference.unfit(source, f"{kind} without {' and '.join(lacking)}", "encode and collate")
    _huggingface.check_finite(subject.module)


def _agree(source: str, own: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    if not own or not wanted or own == wanted:
        return own or wanted
    raise ModelError(
        "the module's labels are not the data's, in the data's order",
        got=f"{source}: {', '.join(own)}",
        allowed=", ".join(wanted),
        next_step="let the function take `labels` and build its head for them, or map the data's labels",
    )


FAMILY = TorchModule()
