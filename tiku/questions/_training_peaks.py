"""What recomputing activations gave: the peak of a training step both ways, and its time."""

from __future__ import annotations

from tiku.core.question import Evidence
from tiku.core.text import Text

__all__ = ["training_peaks"]

_METRIC = "training_memory"


def training_peaks(evidence: Evidence) -> tuple[Text, ...]:
    """One line for each trial that measured it."""
    told = []
    for trial in evidence.trials:
        compared, found = trial.against_base.get(_METRIC), trial.details.get(_METRIC)
        if trial.status == "done" and compared is not None and found:
            peak = f"×{compared.effect:.2f} [{compared.low:.2f}, {compared.high:.2f}]"
            batch, time = " × ".join(map(str, found["batch"])), f"×{found['time_ratio']:.2f}"
            told.append(
                Text(
                    f"training with recomputed activations, {batch} tokens: peak of the process {peak}, time "
                    f"of a step {time}, largest difference of a gradient {found['gradient_difference']:.1e}; "
                    "serving is as before",
                    f"训练时重算激活（{batch} 词元）：进程峰值 {peak}，单步用时 {time}，梯度最大相对差 "
                    f"{found['gradient_difference']:.1e}；推理不受影响",
                )
            )
    return tuple(told)
