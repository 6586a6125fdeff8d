"""Causal language models with transformers: a folder, a hub id, or a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tiku.core.errors import ModelError
from tiku.core.files import user_path
from tiku.core.hashing import hash_file
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.models import _huggingface
from tiku.models._gguf import check_file, converted_folder
from tiku.models._source import is_gguf, is_hub_id, peek_config, read_config, resolve_folder
from tiku.models._transformers_text import TransformersText, facts_of
from tiku.models._weights import check_weights

__all__ = ["FAMILY", "CausalLM"]


class CausalLM(TransformersText):
    """A transformers folder, hub id or GGUF file behind `AutoModelForCausalLM`, in float32.

    A GGUF file is de-quantised once into the cache folder. `facts["weights_grid"]` then lists the
    number formats the weights were rounded to: quantising to that grid again looks better than it
    would on other weights.
    """

    name: ClassVar[str] = "causal-lm"
    task: ClassVar[str] = "causal-lm"
    title: ClassVar[Text] = Text(
        "Causal language model (transformers, GGUF)", "因果语言模型（transformers、GGUF）"
    )
    data_kinds: ClassVar[frozenset[str]] = frozenset({"prose", "choices"})

    def recognises(self, source: str) -> bool:
        return is_gguf(source) or is_hub_id(source) or peek_config(source) is not None

    def load(self, source: str, *, labels: tuple[str, ...] = (), cache: Path, seed: int = 0) -> Subject:
        from transformers import AutoModelForCausalLM

        origin: dict[str, Any] = {}
        if is_gguf(source):
            folder, origin = converted_folder(source, cache)
        else:
            folder = resolve_folder(source)
        config = _huggingface.load_config(folder, read_config(folder))
        _check_architecture(config)
        check_weights(folder)
        tokenizer = _huggingface.load_tokenizer(folder)
        module, info = _huggingface.pretrained(AutoModelForCausalLM, folder, config, seed)
        _huggingface.check_complete(module, info)
        _huggingface.check_finite(module)
        _huggingface.fit_tokenizer(tokenizer, module, folder)
        facts = {
            "head": "kept",
            **facts_of(module, tokenizer, info, folder),
            **origin,
        }
        return Subject(self.task, self.name, module, tokenizer, facts=facts)

    def fingerprint(self, source: str) -> str:
        if is_gguf(source):
            path = user_path(source)
            check_file(path)
            return hash_file(path)
        return super().fingerprint(source)


def _check_architecture(config: Any) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    saved = tuple(str(name) for name in config.architectures or ())
    continues = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in saved)
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not continues:
        raise ModelError(
            "this model is an encoder: it reads text and cannot continue it",
            got=f"{config.model_type} ({', '.join(saved) or 'no architecture stated'})",
            allowed="decoders; an encoder is examined on labelled texts",
            next_step="give data with a label column (--label COLUMN), or choose a decoder",
        )

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            "transformers has no causal language model for this architecture",
            got=f"model_type {config.model_type!r}",
            allowed="architectures of AutoModelForCausalLM (decoders)",
            next_step="choose a decoder, or examine this model as text-classification",
        )


FAMILY = CausalLM()
