"""The library: what `import tiku` offers. Each function is what the command of the same name does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiku.core.errors import BadInput
from tiku.core.files import write_text
from tiku.core.hashing import hash_of
from tiku.core.protocol import Budget
from tiku.core.result import Answer, Result
from tiku.core.text import Language
from tiku.examination.plan import Plan
from tiku.examination.timeline import Watch, unwatched

__all__ = ["ask", "exam"]

Data = str | Path | Sequence[str | Path] | Sequence[tuple[str, str]]


def exam(
    model: str | Path,
    data: Data,
    *,
    require: Sequence[str] = (),
    minimize: str | None = None,
    maximize: str | None = None,
    out: str | Path = "out/exam",
    task: str | None = None,
    columns: Mapping[str, Any] | None = None,
    budget: Budget = "standard",
    minutes: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    finetune: Mapping[str, Any] | None = None,
    language: Language = "en",
    watch: Watch = unwatched,
) -> Result:
    """Examine a model on data: ten answers, a recipe that meets the requirements, and its artefact.

    `model` is a transformers folder, a hub id, a GGUF file, "module:function" or "sample:NAME";
    `data` a path, "sample:NAME", several of them, or a list of (text, label). Writes report.html,
    result.json and artefact/ into `out`, and goes on there when run again. Raises `BadInput` for
    what cannot be used and `CannotMeasure` when the base itself cannot be measured.
    """
    plan = Plan(
        model=str(model), data=_specs(data, Path(out)), out=Path(out), task=task, columns=columns or {},
        require=tuple(require), minimize=minimize, maximize=maximize, budget=budget, minutes=minutes,
        seed=seed, threads=threads, device=device, finetune=finetune or {},
    )  # fmt: skip
    return run(plan, language=language, watch=watch)


def ask(
    question: str | int, model: str | Path, data: Data, *, out: str | Path = "out/exam", **options: Any
) -> Answer:
    """One question (id or number), answered on this model and data. Shares the folder's trials with
    the exam."""
    from tiku.bank.questions import load

    id = load(question).id
    plan = Plan(
        model=str(model),
        data=_specs(data, Path(out)),
        out=Path(out),
        questions=(id,),
        search=False,
        **options,
    )
    return run_questions(plan).questions[id]


def run(plan: Plan, *, language: Language = "en", watch: Watch = unwatched) -> Result:
    """Carry out a plan and write its folder."""
    from tiku.examination.assembly import assemble, deliver, delivering
    from tiku.examination.exam import Exam
    from tiku.report.html import write_report
    from tiku.report.schema import write_result

    started, session = _now(), Exam(plan, watch)
    with session.timeline.ticking():
        findings = session.run()
        session.timeline.start("report", "artefact and report")
        with delivering(plan.out):
            result = deliver(assemble(findings, started=started, finished=_now()), findings, session.ledger)
            write_result(result, plan.out / "result.json")
            write_report(result, plan.out / "report.html", language=language)
    return result


def run_questions(plan: Plan, *, watch: Watch = unwatched) -> Result:
    """Measure and answer the plan's questions; nothing is joined, confirmed or delivered."""
    from tiku.examination.assembly import assemble
    from tiku.examination.exam import Exam

    started, session = _now(), Exam(plan, watch)
    with session.timeline.ticking():
        return assemble(session.run(), started=started, finished=_now())


def _specs(data: Data, out: Path) -> tuple[str, ...]:
    """Paths and sample names; pairs from memory are written to a file that every trial can read."""
    if isinstance(data, str | Path):
        return (str(data),)
    items = list(data)
    pairs = [item for item in items if isinstance(item, tuple) and len(item) == 2]
    if pairs and len(pairs) == len(items):
        lines = [json.dumps({"text": text, "label": str(label)}, ensure_ascii=False) for text, label in pairs]
        path = out / "data" / f"inline-{hash_of(lines)[:12]}.jsonl"
        write_text(path, "\n".join(lines) + "\n")
        return (str(path),)
    if not all(isinstance(item, str | Path) for item in items):
        raise BadInput(
            "data is neither paths nor (text, label) pairs",
            got=type(items[0]).__name__,
            allowed="see the docstring",
            next_step="give a path, sample:NAME, several of them, or a list of (text, label)",
        )
    return tuple(str(item) for item in items)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def apply_recipe_file(recipe: Path, plan: Plan, *, watch: Watch = unwatched) -> Any:
    """Build a saved recipe from the plan's model and data into `plan.out`; the artefact's manifest.

    Raises `RecipeError`, `ModelError`, `DataError`; a method's refusal becomes a `RecipeError`.
    """
    import tempfile

    from tiku.artefact.recipe_file import read_recipe
    from tiku.artefact.writer import write
    from tiku.core.errors import RecipeError
    from tiku.core.method import Context
    from tiku.examination.admission import admit
    from tiku.examination.building import Refused, apply_recipe, without_test
    from tiku.examination.inputs import load_inputs, remark_on
    from tiku.examination.timeline import Timeline

    admit(plan, writes="artefact")
    timeline = Timeline(plan.seconds(), watch)
    steps = read_recipe(recipe / "recipe.yaml" if recipe.is_dir() else recipe)
    timeline.start(f"apply {steps}")
    inputs = load_inputs(plan.inputs())
    remark_on(inputs, timeline)

    def progress(done: float, total: float, note: str) -> None:
        timeline.fraction("build", done / max(total, 1e-9), 0.0, note)

    with timeline.ticking(), tempfile.TemporaryDirectory(prefix="tiku-") as workdir:
        context = Context(without_test(inputs.splits), plan.protocol(), Path(workdir), progress)
        try:
            subject = apply_recipe(steps, inputs.load_subject(plan.seed), context)
        except Refused as refusal:
            raise RecipeError(
                "the recipe cannot be applied to this model here",
                got=f"{steps}: {refusal.reason.en}",
                allowed="methods that support the model as the steps before them leave it",
                next_step="leave the step out, or give it another config",
            ) from refusal
        return write(subject, plan.out, recipe=steps, examples=inputs.examples())
