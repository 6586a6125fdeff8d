"""The command line as a user meets it: `tiku.cli.app.main` with arguments, and what it wrote."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

__all__ = ["Outcome", "run", "run_process"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Outcome:
    """Exit code and both streams."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def run(*args: object, stdin: bytes = b"") -> Outcome:
    """The real entry point inside this process."""
    from tiku.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    streams = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    code: object = None
    with (
        patch.object(sys, "argv", ["tiku", *map(str, args)]),
        patch.object(sys, "stdin", streams),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int), f"main() ended with {code!r}"
    return Outcome(code, out.getvalue(), err.getvalue())


def run_process(*args: object, stdin: bytes = b"", cwd: Path = ROOT, **env: str) -> Outcome:
    """The same in an interpreter of its own, outside a terminal."""
    done = subprocess.run(
        command(*args), input=stdin, cwd=cwd, env=environment(**env), capture_output=True, timeout=120
    )
    return Outcome(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def command(*args: object) -> list[str]:
    """The words that start tiku without relying on an installed script."""
    return [sys.executable, "-c", "from tiku.cli import main; main()", *map(str, args)]


def environment(**changes: str) -> dict[str, str]:
    """This environment with the checkout on the path, one thread, and no network."""
    fixed = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **fixed, **changes}
