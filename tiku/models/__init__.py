"""Model families: one public file each, exporting `FAMILY`; `resolve` finds the one for a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.family import Family
from tiku.models._source import is_gguf, is_hub_id, is_reference, read_config, resolve_folder

__all__ = ["resolve"]

_ANY_TASK = "any"  # a family whose sources state their own task


def resolve(source: str, task: str | None = None) -> Family:
    """The family that loads this source.

    `task` decides between families that both could (a decoder can classify or generate); without it
    the architecture in config.json does. Raises `ModelError` when none recognises the source, or
    none of those serves the task.
    """
    families: list[Family] = [registry.get("models", name) for name in registry.names("models")]
    able = [family for family in families if family.recognises(source)]
    if not able:
        raise _unrecognised(source)
    fitting = [family for family in able if task in (None, family.task) or family.task == _ANY_TASK]
    if not fitting:
        raise ModelError(
            "this model cannot serve the task",
            got=f"{source} for {task}",
            allowed=sorted({family.task for family in able}),
            next_step="give data for one of these tasks, or another model",
        )
    if len(fitting) == 1:
        return fitting[0]
    stated = _stated_task(read_config(resolve_folder(source)))
    return next((family for family in fitting if family.task == stated), fitting[0])


def _stated_task(config: dict[str, Any]) -> str:
    """The task the saved architecture was made for; a bare body counts as an encoder where it can be one."""
    saved = [str(name) for name in config.get("architectures") or ()]
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in saved):
        return "causal-lm"
    if saved:
        return "text-classification"
    from transformers.models.auto import modeling_auto

    kind = config["model_type"]
    masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    decodes = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in masked
    return "causal-lm" if decodes else "text-classification"


def _unrecognised(source: str) -> ModelError:
    """Why no family took the source: the first thing that is wrong with it."""
    if not (is_hub_id(source) or is_gguf(source) or is_reference(source)):
        try:
            read_config(resolve_folder(source))
        except ModelError as error:
            return error
    return ModelError(
        "no model family recognises this source",
        got=source,
        allowed=f"sources of {', '.join(registry.names('models'))}",
        next_step="check the path" if not Path(source).exists() else "install the family's package",
    )
