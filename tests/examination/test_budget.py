"""What still fits into the time: a trial, the joins after it, and the confirmation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tiku.core.recipe import Recipe
from tiku.examination.ledger import Ledger
from tiku.examination.plan import Plan
from tiku.examination.preparation import Prepared
from tiku.examination.runner import Runner
from tiku.examination.timeline import Timeline, unwatched


def test_a_trial_fits_only_beside_the_joins_and_the_confirmation_that_follow(tmp_path: Path) -> None:
    plan = Plan("model", ("data",), tmp_path, minutes=10)
    prepared = Prepared("0" * 64, "1" * 64, "text-classification", "text-classification", Recipe())
    never: Any = None  # no trial is run
    runner = Runner(
        plan, prepared, Ledger(tmp_path / "trials"), cast(Any, never), Timeline(plan.seconds(), unwatched)
    )
    one, confirmation = runner.expected_seconds(), runner.reserve()
    most = int((plan.seconds() - confirmation) / one) - 1
    recipe = Recipe.parse(["token-budget"])
    assert runner.fits(recipe)
    assert runner.fits(recipe, spare=most - 1)
    assert not runner.fits(recipe, spare=most + 1)
