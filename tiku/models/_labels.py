"""The classification head: whose labels it speaks, keeping it, reordering it, or drawing a new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiku.core.errors import ModelError

__all__ = [
    "HeadPlan",
    "declared_labels",
    "draw_head",
    "is_head",
    "permute_head",
    "plan_head",
    "start_decoder",
    "write_labels",
]


@dataclass(frozen=True)
class HeadPlan:
    """What becomes of the head. `order[i]` is the stored row of label i; `reason` says why."""

    labels: tuple[str, ...]
    order: tuple[int, ...]
    new: bool
    reason: str


def declared_labels(config: Any) -> tuple[str, ...]:
    """The labels of config.json, in the order of the logits. Raises `ModelError` when they have gaps."""
    table = {int(index): str(label) for index, label in (config.id2label or {}).items()}
    if sorted(table) != list(range(len(table))):
        raise ModelError(
            "id2label in config.json does not number the labels 0, 1, 2, …",
            got=sorted(table),
            allowed=f"0 … {len(table) - 1}",
            next_step="correct id2label and label2id in config.json",
        )
    return tuple(table[i] for i in range(len(table)))


def plan_head(own: tuple[str, ...], wanted: tuple[str, ...]) -> HeadPlan:
    """Keep the head when the model's labels are the data's (by name, then ignoring case, then by
    position when the model's are the unnamed LABEL_0 …); else a new one."""
    if len(set(wanted)) != len(wanted):
        raise ModelError(
            "two classes have the same name",
            got=", ".join(wanted),
            allowed="distinct class names",
            next_step="rename one of them in the data",
        )
    if not wanted:
        return HeadPlan(own, tuple(range(len(own))), False, "the model's own labels")
    for fold in (str, str.casefold):
        rows = {fold(label): row for row, label in enumerate(own)}
        asked = [fold(label) for label in wanted]
        if len(rows) == len(own) == len(wanted) and len(set(asked)) == len(asked) and set(asked) == set(rows):
            return HeadPlan(wanted, tuple(rows[label] for label in asked), False, "labels matched by name")
    if own == tuple(f"LABEL_{i}" for i in range(len(own))) and len(own) == len(wanted):
        return HeadPlan(wanted, tuple(range(len(own))), False, "unnamed labels matched by position")
    return HeadPlan(
        wanted, (), True, f"the model's labels ({_some(own)}) are not the data's ({_some(wanted)})"
    )


def write_labels(config: Any, labels: tuple[str, ...]) -> None:
    """Set id2label and label2id (and with them num_labels)."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = None  # integer class targets


def start_decoder(config: Any) -> None:
    """Set the token with which a decoder begins where config.json leaves it to the generation config, as
    T5 folders of transformers 5 do: T5 begins with its padding. In place."""
    if (
        getattr(config, "is_encoder_decoder", False)
        and getattr(config, "decoder_start_token_id", None) is None
    ):
        config.decoder_start_token_id = config.pad_token_id


def is_head(module: Any, key: str) -> bool:
    """Whether a weight lies outside the body, or in the body's pooler (which masked-language-model
    checkpoints lack)."""
    prefix = f"{module.base_model_prefix}."
    return not key.startswith(prefix) or key.removeprefix(prefix).startswith("pooler.")


def draw_head(module: Any, seed: int) -> None:
    """Initialise the head anew, as the architecture initialises it, from `seed`. In place."""
    import torch

    parts = [child for name, child in module.named_children() if child is not module.base_model]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in (sub for child in parts for sub in child.modules()):
            for tensor in (part, *part.parameters(recurse=False)):
                tensor._is_hf_initialized = False  # transformers skips what it has marked as loaded
            module._init_weights(part)


def permute_head(module: Any, order: tuple[int, ...]) -> None:
    """Put the rows of the last layer in this order, so that logit i belongs to label i. In place."""
    import torch

    if order == tuple(range(len(order))):
        return
    outside = [child for _, child in module.named_children() if child is not module.base_model]
    linears = [m for child in outside for m in child.modules() if isinstance(m, torch.nn.Linear)]
    final = next((m for m in reversed(linears) if m.out_features == len(order)), None)
    if final is None:
        raise ModelError(
            "the model's labels are the data's in another order, and its last layer cannot be reordered",
            got=type(module).__name__,
            allowed="a linear last layer",
            next_step="number the data's classes in the model's order",
        )
    with torch.no_grad():
        final.weight.copy_(final.weight[list(order)].clone())
        if final.bias is not None:
            final.bias.copy_(final.bias[list(order)].clone())


def _some(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:5])
    return f"{shown}, … {len(labels)} in all" if len(labels) > 5 else shown
