"""Small good things for the command line: a model, data, a decoder, an artefact, a result, a recipe."""

from __future__ import annotations

from pathlib import Path

from tests.report.builder import build_result
from tests.tiny import write_csv, write_model

__all__ = ["make_good"]


def make_good(folder: Path) -> Path:
    """model/, decoder/, artefact/, reviews.csv, result.json and base.yaml in this folder."""
    from tiku.artefact import write
    from tiku.core import registry
    from tiku.core.recipe import Recipe
    from tiku.report.schema import write_result
    from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts

    write_model(folder / "model", steps=0)
    write_csv(folder / "reviews.csv", 60)
    registry.get("models", "causal-lm").save(tiny_language_model(), folder / "decoder")
    write(tiny_classifier(), folder / "artefact", recipe=Recipe(), examples=tiny_texts(8))
    write_result(build_result(), folder / "result.json")
    (folder / "base.yaml").write_text("steps: []\n", encoding="utf-8")
    return folder
