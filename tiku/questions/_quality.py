"""Which metrics tell a model's quality, and which of them heads a question's decision."""

from __future__ import annotations

from tiku.core.question import Evidence
from tiku.core.task import TASKS

__all__ = ["CLASSIFICATION", "LANGUAGE", "headline"]

CLASSIFICATION = ("accuracy", "f1_macro", "auc_roc", "mcc", "log_loss", "ece")
LANGUAGE = ("perplexity", "bits_per_byte", "choice_accuracy", "choice_accuracy_norm")


def headline(evidence: Evidence) -> str:
    """The task's own metric; where the data do not give it (choices without prose), the first they do."""
    own = TASKS[evidence.situation.task].quality
    return next((n for n in (own, *CLASSIFICATION, *LANGUAGE) if n in evidence.base.metrics), own)
