"""`python -m tiku.examination.zygote INPUTS`: imports and reads the data once, forks a worker per request.

Requests and answers are JSON lines: {"start": FOLDER} -> {"pid": N}; {"poll": PID} -> {"code": N|null}.
It does no arithmetic itself: a process that has started OpenMP threads must not be forked. It ends,
and every process of its workers with it, when its standard input closes, as it does when the exam
is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tiku.examination.standing import installed

if TYPE_CHECKING:
    from tiku.examination.inputs import Inputs

__all__ = ["main"]

# What nearly every trial imports; importing starts no threads.
_PRELOADED = (
    "numpy", "scipy.stats", "torch", "transformers.models.auto", "transformers.modeling_utils",
    "safetensors.torch", "psutil", "tiku.artefact", "tiku.examination.worker",
)  # fmt: skip


def main(inputs: str) -> None:
    """Serve until standard input closes. `inputs` is the JSON that `load_inputs` takes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exam decides what Ctrl-C ends
    _adopt()
    answers = _own_stdout()
    for name in _PRELOADED:
        importlib.import_module(name)
    installed()  # kept for the workers
    loaded = _load(json.loads(inputs))
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = _fork(Path(request["start"]), loaded)
            codes[pid] = None
            answer: dict[str, int | None] = {"pid": pid}
        else:
            answer = {"code": _poll(int(request["poll"]), codes)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    _end_all()


def _own_stdout() -> IO[str]:
    """The answers' stream; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _load(values: dict[str, Any]) -> Inputs | None:
    """The data, read once for all workers; None when that fails: a worker then says why."""
    from tiku.examination.inputs import load_inputs

    try:
        return load_inputs(values)
    except Exception:
        return None


def _fork(folder: Path, inputs: Inputs | None) -> int:
    zygote = os.getpid()
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.setsid()
        _die_with(zygote)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        code = _work(folder, inputs)
    finally:  # whatever happens, a worker never goes on as a second zygote
        os._exit(code)


def _work(folder: Path, inputs: Inputs | None) -> int:
    from tiku.core.files import refused_by_disk
    from tiku.examination.worker import EXIT_DISK, run

    try:
        _redirect(folder / "log.txt")
        code = run(folder, inputs)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        if refused_by_disk(error, folder):
            return EXIT_DISK
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return code


def _redirect(log: Path) -> None:
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, stream in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, stream)


def _poll(pid: int, codes: dict[int, int | None]) -> int | None:
    if codes.get(pid) is None and pid in codes:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            codes[pid] = os.waitstatus_to_exitcode(status)
            _end_all(spare={other for other, code in codes.items() if code is None})
    return codes.get(pid)


def _end_all(spare: set[int] | None = None) -> None:
    """End everything below this process but the workers to spare and what they started.

    What a worker left behind has become a child of the zygote (`_adopt`).
    """
    import psutil

    for child in psutil.Process().children():
        if child.pid in (spare or ()):
            continue
        family = [child]
        with contextlib.suppress(psutil.Error):
            family += child.children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child.pid, 0)


def _adopt() -> None:
    """Become the parent of what a worker leaves behind, in whatever session it runs (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends (Linux); elsewhere nothing happens."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(1)  # it had already gone


if __name__ == "__main__":
    main(sys.argv[1])
