"""`tiku doctor`: what this machine is, how noisy it is, which extras are missing, what a model will take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json
from tiku.core.errors import BadInput

if TYPE_CHECKING:
    from tiku.measure.checkup import Checkup
    from tiku.measure.forecast import Forecast

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", short_help="Look at this machine.")(doctor)


PlanModel = Annotated[
    str | None,
    typer.Option("--plan", help="Predict this model's memory before anything is loaded.", metavar="MODEL"),
]
Batch = Annotated[
    int | None, typer.Option("--batch", min=1, help="With --plan: sequences at once.", metavar="N")
]
Tokens = Annotated[
    int | None, typer.Option("--tokens", min=1, help="With --plan: tokens of each sequence.", metavar="N")
]


def doctor(
    plan: PlanModel = None,
    batch: Batch = None,
    tokens: Tokens = None,
    lang: o.Lang = None,
    as_json: o.Json = False,
) -> None:
    """Show cores, instruction sets, memory, GPU, energy source, noise of an A/A run, and extras.

    With --plan MODEL: the memory that model will take, told from its config and the header of its weights.
    """
    language = o.language(lang)
    if plan is None and (batch or tokens):
        raise BadInput(
            "--batch and --tokens describe a request to a model, and none is given",
            got=f"--batch {batch}" if batch else f"--tokens {tokens}",
            allowed="--plan MODEL with them",
            next_step="tiku doctor --plan MODEL",
        )
    report = _examine() if plan is None else _foresee(plan, batch, tokens)
    if as_json:
        print_json(report.to_json())
        return
    for line in report.lines(language):
        print(line)


def _examine() -> Checkup:
    from tiku.measure.checkup import doctor as examine

    return examine()


def _foresee(model: str, batch: int | None, tokens: int | None) -> Forecast:
    from tiku.examination.inputs import model_path
    from tiku.measure.forecast import forecast

    return forecast(model_path(model), batch=batch, tokens=tokens)
