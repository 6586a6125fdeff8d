"""What may be chosen about a training run."""

from __future__ import annotations

from dataclasses import dataclass

from tiku.core.config import param

__all__ = ["TrainOptions"]


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train`. Lengths are tokens, one step is one batch and one update."""

    epochs: int = param(2, "passes over the training part", low=1, high=1000)
    min_steps: int = param(
        200,
        "updates at least: small data are passed over more often (Mosbach et al. 2021)",
        low=0,
        high=10**6,
    )
    learning_rate: float | None = param(
        None, "peak learning rate of the topmost layers; none: by the width of the model", low=1e-8, high=1.0
    )
    batch_tokens: int = param(1024, "tokens of a batch, padding included", low=8, high=10**7)
    warmup: float = param(0.1, "share of the steps in which the learning rate rises", low=0.0, high=1.0)
    decay: str = param("linear", "how the learning rate falls to zero", choices=("linear", "cosine"))
    weight_decay: float = param(0.01, "decoupled decay of matrices", low=0.0, high=1.0)
    layer_decay: float = param(0.9, "learning rate of a layer over that of the next", low=0.1, high=1.0)
    label_smoothing: float = param(0.0, "share of the target spread over all classes", low=0.0, high=0.5)
    class_weights: str = param(
        "none", "balanced: every class weighs the same in the loss", choices=("none", "balanced")
    )
    clip_norm: float = param(1.0, "largest norm of a step's gradient", low=1e-6, high=1e6)
    checkpoint_activations: bool = param(
        False, "run each block again for its gradient instead of keeping its activations: less memory, slower"
    )
    max_length: int = param(256, "longer texts are cut to so many tokens", low=4, high=10**6)
    precision: str = param(
        "auto",
        "number format of matrix products; weights stay float32. auto: bf16 where a probe finds it faster",
        choices=("auto", "fp32", "bf16"),
    )
