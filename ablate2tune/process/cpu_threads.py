"""How many threads a run on the CPU takes: as many as cores are free as it starts.

Many small operators end in as many barriers. Where other processes hold the cores, a thread waits
there for one that is not running, and two threads take several times as long as one.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

SAID = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC")
"""Variables by which a user, or a launcher, says how many."""
LOOKS = 0.3, 1.0
"""Seconds of a look at the cores, and of a second one where the first found them busy."""
FEWER = (
    "threads: {count} of {most}, as {free:.1f} cores are free (OMP_NUM_THREADS sets another number)"
)
OTHERWISE = (
    "warning: begun with {held} threads and gone on with {count}, as the environment says: the "
    "last bits may differ from those of an unbroken run"
)


class Threads(NamedTuple):
    """How many threads PyTorch computes with on the CPU."""

    taken: int
    line: str | None = None
    """What to say of it; None where it is as ever."""


def settle_threads(held: int | None = None, begun: bool = False) -> Threads:
    """Choose the number of threads, and have PyTorch take it from here on.

    What the environment says is taken. Else it is as many as the work was begun with, whose last
    bits depend on it, and as the cores that are free where it is new, at most PyTorch's own number.

    Args:
        held: with how many the work was begun, if that was written down.
        begun: whether there is work to go on with.
    """
    if any(os.environ.get(name) for name in SAID):
        count = torch.get_num_threads()
        if not begun or held in (None, count):
            return Threads(count)
        return Threads(count, OTHERWISE.format(held=held, count=count))
    most, line = _usual(), None
    if begun:
        count = held or most
    else:
        free = free_cores_now(most)
        count = most if free is None else max(1, min(most, int(free + 0.5)))
        if free is not None and count < most:
            line = FEWER.format(count=count, most=most, free=free)
    torch.set_num_threads(count)
    return Threads(count, line)


@cache
def _usual() -> int:
    """PyTorch's own number; less where a container may use fewer cores at a time."""
    limit = quota()
    return min(torch.get_num_threads(), max(1, int(limit)) if limit else 1 << 16)


@cache
def free_cores_now(enough: int) -> float | None:
    """`free_cores`, once in a process, so that what it makes is made alike.

    Args:
        enough: so many are not looked at twice.
    """
    free = None
    for seconds in LOOKS:
        free = free_cores(seconds)
        if free is None or free + 0.5 >= enough:
            break
    return free


def free_cores(seconds: float) -> float | None:
    """Cores on which nothing ran, in the mean over so many seconds; None where nobody tells.

    Of those that this process may run on. This thread sleeps meanwhile.
    """
    try:
        shares: list[Any] = psutil.cpu_times_percent(seconds, percpu=True)
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    except (OSError, RuntimeError, ValueError, NotImplementedError, psutil.Error):
        return None
    if not any(sum(share) for share in shares):
        return None
    mine = [share for core, share in enumerate(shares) if allowed is None or core in allowed]
    return sum(share.idle + getattr(share, "iowait", 0.0) for share in mine) / 100


def quota(root: Path = Path("/")) -> float | None:
    """Cores that a container's limit leaves this process at a time; None where there is none.

    The least of the limits of its control group and of those above it (Linux; cgroup v2 and v1).

    Args:
        root: under which /proc and /sys lie.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for _, controllers, path in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        place = "sys/fs/cgroup" if not controllers else "sys/fs/cgroup/cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        own = Path(path.lstrip("/"))
        for folder in (root / place / above for above in (own, *own.parents)):
            found += [limit for limit in (_limit(folder),) if limit]
    return min(found, default=None)


def _limit(folder: Path) -> float | None:
    try:
        if (whole := folder / "cpu.max").is_file():
            allowed, period = whole.read_text(encoding="utf-8").split()
        else:
            names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
            allowed, period = ((folder / name).read_text(encoding="utf-8") for name in names)
        return int(allowed) / int(period) if int(allowed) > 0 else None
    except (OSError, ValueError):  # "max"
        return None
