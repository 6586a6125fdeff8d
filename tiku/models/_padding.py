"""On which side a classifier may be padded, and whether padding changes its answers."""

from __future__ import annotations

from typing import Any

from tiku.models._encoding import collate, encode

__all__ = ["settle_side"]

_TEXT = "A short text to see whether padding changes the answer."
_PADDING = 5  # tokens
_ALLOWED = 1e-3  # of the largest logit


def settle_side(tokenizer: Any, module: Any) -> dict[str, Any]:
    """Set the side of the padding and say in facts which, and how much it changes the logits.

    Right is kept unless answers change there and not on the left (XLNet reads its answer from the last
    position). `padding_noise` is relative to the largest logit; architectures without an attention
    mask (FNet) cannot tell padding from text at all.
    """
    import torch

    encoding = encode(tokenizer, [_TEXT], None)[0]
    width = min(len(encoding["input_ids"]) + _PADDING, tokenizer.model_max_length)

    def logits(padded: int) -> Any:
        batch = collate(tokenizer, [encoding], width=padded)
        with torch.inference_mode():
            return module(**{name: torch.from_numpy(array) for name, array in batch.items()}).logits

    noise: dict[str, float] = {}
    alone = logits(len(encoding["input_ids"]))
    for side in ("right", "left"):
        tokenizer.padding_side = side
        away, scale = (logits(width) - alone).abs().max(), alone.abs().max()
        noise[side] = float(away / scale.clamp(min=1e-6))
        if noise[side] <= _ALLOWED:
            break
    tokenizer.padding_side = min(noise, key=lambda side: noise[side])
    return {"padding_side": tokenizer.padding_side, "padding_noise": noise[tokenizer.padding_side]}
