"""The state of a run that was interrupted: one file, the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from tiku.core.errors import OutOfSpace

__all__ = ["Checkpoint"]


class Checkpoint:
    """One checkpoint file of one run. `identity` names everything the run's outcome depends on.

    A file of another identity, or one that cannot be read, is not used: `load` says why.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.path = folder / "training.checkpoint.pt"
        self._identity = identity

    def load(self) -> tuple[dict[str, Any] | None, str]:
        """(state, "") or (None, the reason; "" where there is no file)."""
        import torch

        if not self.path.is_file():
            return None, ""
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            if content["identity"] != self._identity:
                return None, "the checkpoint belongs to another training run: starting anew"
            state: dict[str, Any] = content["state"]
        except Exception as error:  # torch.load documents no exception for a damaged file
            return None, f"the checkpoint cannot be read ({type(error).__name__}): starting anew"
        return state, ""

    def save(self, state: dict[str, Any]) -> None:
        """Write temp -> fsync -> rename. Raises `OutOfSpace`."""
        import torch

        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save({"identity": self._identity, "state": state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise OutOfSpace(
                "could not write a training checkpoint",
                got=f"{self.path}: {error}",
                next_step="free space or choose another folder with --out",
            ) from error

    def remove(self) -> None:
        """Delete the file: the run is over."""
        self.path.unlink(missing_ok=True)
