"""What can be refused before a model or data are touched: a typing error must not cost minutes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from tiku.artefact.writer import refuse_foreign
from tiku.core.errors import BadInput, OutOfSpace
from tiku.core.instrument import all_metrics
from tiku.core.requirement import parse_requirement
from tiku.examination.plan import Plan, stated_objective

__all__ = ["admit"]


_WRITTEN = ("result.json", "report.html", "artefact")


def admit(plan: Plan, *, writes: Literal["exam", "artefact"] = "exam") -> None:
    """Check requirements, objective, folder and device; writes nothing.

    `writes` says what the folder will hold. Raises `RequirementError`, `UnknownName`, `BadInput`,
    `ArtefactError`, `OutOfSpace`.
    """
    metrics = all_metrics()
    for text in plan.require:
        parse_requirement(text, metrics)
    stated_objective(plan, metrics)
    _check_folder(plan.out)
    if writes == "exam":
        _refuse_foreign(plan.out)
    else:
        refuse_foreign(plan.out)
    _check_device(plan.device)


def _refuse_foreign(out: Path) -> None:
    """Raise `BadInput` where the exam would write over files that no exam wrote."""
    foreign = [name for name in _WRITTEN if (out / name).exists()]
    if foreign and not (out / "trials").is_dir():
        raise BadInput(
            "the folder holds files that are not an exam's; nothing was written over",
            got=f"{out}: {', '.join(foreign)}",
            allowed="a new folder, or one that an exam wrote",
            next_step="choose another folder with --out",
        )


def _check_folder(out: Path) -> None:
    """The folder, or the nearest one above it that exists, is a folder that can be written."""
    nearest = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise BadInput(
            "a file stands where the folder should be",
            got=nearest,
            allowed="a folder, or a path where one can be made",
            next_step="choose another folder with --out",
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutOfSpace(
            "the folder cannot be written",
            got=nearest,
            allowed="a folder that you may write",
            next_step="choose another folder with --out",
        )


def _check_device(device: str) -> None:
    if not device.startswith("cuda"):
        return
    import torch

    if not torch.cuda.is_available():
        raise BadInput(
            "there is no such device here",
            got=device,
            allowed="auto, cpu",
            next_step="leave the device at auto",
        )
