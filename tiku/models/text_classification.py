"""Text classification with transformers: an encoder, decoder or both, with a classification head."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.errors import ModelError
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.models import _huggingface, _labels
from tiku.models._padding import settle_side
from tiku.models._source import is_hub_id, peek_config, read_config, resolve_folder
from tiku.models._transformers_text import TransformersText, facts_of
from tiku.models._weights import check_weights

__all__ = ["FAMILY", "TextClassification"]


class TextClassification(TransformersText):
    """A transformers folder or hub id behind `AutoModelForSequenceClassification`, in float32.

    Only safetensors are read and no remote code runs. When the data's classes are the model's own
    (in any order) the head is kept and its rows follow the data's order; when they are not, or
    when there is no head, a new one is drawn from `seed`. `facts["head"]` says "kept" or "new".
    """

    name: ClassVar[str] = "text-classification"
    task: ClassVar[str] = "text-classification"
    title: ClassVar[Text] = Text("Text classification (transformers)", "文本分类（transformers）")
    data_kinds: ClassVar[frozenset[str]] = frozenset({"labelled texts"})

    def recognises(self, source: str) -> bool:
        return is_hub_id(source) or peek_config(source) is not None

    def load(self, source: str, *, labels: tuple[str, ...] = (), cache: Path, seed: int = 0) -> Subject:
        from transformers import AutoModelForSequenceClassification

        folder = resolve_folder(source)
        declared = read_config(folder)
        config = _huggingface.load_config(folder, declared)
        _check_architecture(config)
        check_weights(folder)
        plan = _labels.plan_head(_labels.declared_labels(config), labels)
        _labels.write_labels(config, plan.labels)
        tokenizer = _huggingface.load_tokenizer(folder)
        module, info = _huggingface.pretrained(AutoModelForSequenceClassification, folder, config, seed)
        lacking = _huggingface.check_complete(module, info, optional=partial(_labels.is_head, module))
        new = plan.new or bool(lacking)
        if plan.new:
            _labels.draw_head(module, seed)
        elif not new:
            _labels.permute_head(module, plan.order)
        _huggingface.check_finite(module)
        _huggingface.fit_tokenizer(tokenizer, module, folder)
        module.config.pad_token_id = tokenizer.pad_token_id
        _labels.start_decoder(module.config)
        with _huggingface.explained(folder, "this model loads and cannot run on a text"):
            padding = settle_side(tokenizer, module)
        facts = {
            "head": "new" if new else "kept",
            "head_reason": plan.reason if not lacking or plan.new else "the model has no classification head",
            **facts_of(module, tokenizer, info, folder),
            **padding,
        }
        return Subject(self.task, self.name, module, tokenizer, labels=plan.labels, facts=facts)


def _check_architecture(config: Any) -> None:
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ModelError(
            "transformers has no text classifier for this architecture",
            got=f"model_type {config.model_type!r}",
            allowed="architectures of AutoModelForSequenceClassification",
            next_step="choose another encoder, or build the module yourself and give module:function",
        )


FAMILY = TextClassification()
