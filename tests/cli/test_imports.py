"""What is loaded before it is used: nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.command import environment

HEAVY = ("torch", "numpy", "scipy", "transformers", "pyarrow", "matplotlib", "rich.markdown", "onnxruntime")


def _loaded(code: str) -> set[str]:
    """Which heavy modules a new interpreter holds after this code."""
    program = f"{code}\nimport sys\nprint('\\nLOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_tiku_loads_nothing_heavy() -> None:
    assert _loaded("import tiku; tiku.__version__") == set()


def test_naming_the_functions_of_the_library_loads_no_torch() -> None:
    assert "torch" not in _loaded("import tiku; tiku.exam; tiku.check; tiku.compare; tiku.read_result")


def _main(*arguments: str) -> str:
    """Code that runs a command and goes on."""
    return (
        f"import sys\nsys.argv = ['tiku', *{list(arguments)!r}]\n"
        "from tiku.cli.app import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["exam", "--help"], ["questions"], ["samples"], ["exma"], ["exam", "model"]]
)
def test_commands_that_only_read_load_nothing_heavy(arguments: list[str]) -> None:
    assert _loaded(_main(*arguments)) == set()


def test_reading_one_question_loads_no_torch() -> None:
    assert "torch" not in _loaded(_main("questions", "5"))


def test_the_list_of_heavy_modules_would_be_noticed() -> None:
    assert _loaded("import numpy") == {"numpy"}
