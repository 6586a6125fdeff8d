"""One training run: the state that moves from step to step, and how a step moves it."""

from __future__ import annotations

import copy
import math
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError, TikuError
from tiku.training.curve import Curve
from tiku.training.examples import Examples
from tiku.training.options import TrainOptions
from tiku.training.parameters import parameter_groups, rate_factor
from tiku.training.sampler import Sampler, plan_epoch

if TYPE_CHECKING:
    import torch

__all__ = ["Run"]

_BETAS = (0.9, 0.999)


class Run:
    """Module (a copy), optimiser and curve after `step` steps.

    Everything random in a step is drawn from (seed, step), so no generator state is carried along:
    a run that goes on from a checkpoint ends where an uninterrupted one does.
    """

    def __init__(
        self, module: torch.nn.Module, examples: Examples, classes: int, options: TrainOptions, seed: int,
        *, precision: str, device: str,
    ) -> None:  # fmt: skip
        import torch

        self.module = copy.deepcopy(module).to(device).train()
        groups = parameter_groups(self.module, options)
        if not groups:
            raise ModelError(
                "the model has no trainable parameter",
                got=type(module).__name__,
                allowed="at least one parameter that requires a gradient",
                next_step="call requires_grad_(True) on the layers to train",
            )
        self.optimiser = torch.optim.AdamW(groups, betas=_BETAS, fused=True)
        self.sampler = Sampler(
            examples.lengths,
            options.batch_tokens,
            epochs=options.epochs,
            min_steps=options.min_steps,
            seed=seed,
        )
        self.curve = Curve()
        self.precision = precision
        self.examples, self.classes, self.options = examples, classes, options
        self._seed, self.device = seed, device
        self._class_weights = self._weigh_classes()

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.curve.losses)

    def advance(self, seconds: float) -> None:
        """One step. `seconds` is the clock of the run, for the curve. Raises `TikuError` on divergence."""
        import torch

        step, positions = self.step, self.sampler.batch(self.step)
        factor = rate_factor(step, self.sampler.steps, self.options)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        torch.manual_seed(_step_seed(self._seed, step))
        loss = self.loss_sum(positions)
        (loss / self.sampler.examples_per_step).backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters(), self.options.clip_norm)
        mean = loss.item() / len(positions)
        if not (math.isfinite(mean) and math.isfinite(norm.item())):
            raise _diverged(step, mean, norm.item(), max(g["peak"] for g in self.optimiser.param_groups))
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._note(positions, mean, seconds)

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Mean loss (nats) and accuracy on other examples."""
        import torch

        loss = correct = 0.0
        self.module.eval()
        with torch.inference_mode():
            for positions in plan_epoch(examples.lengths, 2 * self.options.batch_tokens, 0, 0):
                inputs, targets = examples.batch(positions, self.device)
                logits = self.logits(inputs)
                loss += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
                correct += (logits.argmax(1) == targets).sum().item()
        self.module.train()
        return {"loss": loss / len(examples), "accuracy": correct / len(examples), "items": len(examples)}

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as tensors and plain values."""
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "curve": vars(self.curve),
            "precision": self.precision,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state of the same run."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.curve = Curve(**state["curve"])
        self.precision = state["precision"]

    def loss_sum(self, positions: Any) -> torch.Tensor:
        """Loss of a batch, summed over its examples. Another objective overrides it."""
        import torch

        inputs, targets = self.examples.batch(positions, self.device)
        return torch.nn.functional.cross_entropy(
            self.logits(inputs), targets, weight=self._class_weights, reduction="sum",
            label_smoothing=self.options.label_smoothing,
        )  # fmt: skip

    def logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Scores per class, float32, with the gradient. Raises `ModelError` for another shape."""
        with self.autocast():
            output = self.module(**inputs)
        logits: torch.Tensor = getattr(output, "logits", output).float()
        if logits.ndim != 2 or logits.shape[1] != self.classes:
            raise ModelError(
                "the model does not give one score per class",
                got=f"scores of shape {tuple(logits.shape)}",
                allowed=f"(examples, {self.classes})",
                next_step="load the model with the labels of this data",
            )
        return logits

    def autocast(self) -> AbstractContextManager[Any]:
        """Products in the run's number format."""
        import torch

        kind = self.device.partition(":")[0]
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for group in self.optimiser.param_groups for p in group["params"]]

    def _weigh_classes(self) -> torch.Tensor | None:
        """Weight per class so that every class present sums to the same, and all examples to N."""
        import torch

        if self.options.class_weights == "none":
            return None
        counts = torch.bincount(torch.from_numpy(self.examples.targets), minlength=self.classes).float()
        present = (counts > 0).sum()
        weights = torch.where(counts > 0, counts.sum() / (present * counts.clamp(min=1)), 0.0)
        return weights.to(self.device)

    def _note(self, positions: Any, loss: float, seconds: float) -> None:
        lengths = [self.examples.lengths[i] for i in positions]
        self.curve.losses.append(loss)
        self.curve.seconds.append(seconds)
        self.curve.tokens += sum(lengths)
        self.curve.padded_tokens += len(lengths) * max(lengths)


def _step_seed(seed: int, step: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


def _diverged(step: int, loss: float, norm: float, rate: float) -> TikuError:
    return TikuError(
        "the training diverged: loss or gradient is no longer a finite number",
        got=f"step {step + 1}: loss {loss:g}, gradient norm {norm:g}, learning rate {rate:g}",
        allowed="finite numbers",
        next_step="lower learning_rate, or set precision to fp32",
    )
