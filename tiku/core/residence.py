"""Resident memory of a process, its peak, and what its limits leave: from Linux's /proc, else from psutil.

VmRSS and VmHWM are the process's own and depend neither on the machine's size nor on a container's limit.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tiku.core.errors import CannotMeasure

__all__ = ["address_room", "peak_bytes", "reset_peak", "resident_bytes"]


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory now, of this process or another of the same user."""
    if _folder(pid).joinpath("status").exists():
        return _status("VmRSS:", pid)
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


def peak_bytes(pid: int | None = None) -> int:
    """Highest resident memory since the process began, or since `reset_peak`."""
    if _folder(pid).joinpath("status").exists():
        return _status("VmHWM:", pid)
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process(pid).memory_info().peak_wset)
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def reset_peak(pid: int | None = None) -> bool:
    """Start a new peak from what is resident now; whether the system lets us (Linux does)."""
    try:
        _folder(pid).joinpath("clear_refs").write_text("5")
    except OSError:
        return False
    return True


def address_room(pid: int | None = None) -> int | None:
    """Bytes of address space that a limit on it (ulimit -v) leaves; None where there is none."""
    if sys.platform != "linux":
        return None
    import resource

    soft, _ = resource.prlimit(pid or 0, resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - _status("VmSize:", pid))


def _folder(pid: int | None) -> Path:
    return Path("/proc", "self" if pid is None else str(pid))


def _status(field: str, pid: int | None) -> int:
    path = _folder(pid) / "status"
    for line in path.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise CannotMeasure(f"{path} has no field {field}", next_step="report this kernel", got=path)
