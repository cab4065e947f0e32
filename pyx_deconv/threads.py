"""How many threads the kernels use.

The number never changes a result: the order of every sum follows from the shapes alone. A forked child always
runs on one thread, because the OpenMP runtime of its parent does not survive the fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from pyx_deconv._arguments import integer, show
from pyx_deconv.kernels import engine

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

_everywhere: int | None = None
_here: ContextVar[int | None] = ContextVar("pyx_deconv.num_threads", default=None)
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Whole processors that the container may use (cgroup v2, then v1), or None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return None
    if quota.strip() in ("max", "-1"):
        return None
    return max(1, -(-int(quota) // int(period)))


def _usable_processors() -> tuple[int, str]:
    """How many processors this process may use, and what says so."""
    count, source = os.cpu_count() or 1, "processors"
    with suppress(AttributeError):  # not on macOS and Windows
        of_all, count = count, len(os.sched_getaffinity(0))
        source = "affinity" if count < of_all else source
    quota = _quota()
    if quota is not None and quota < count:
        count, source = quota, "cgroup quota"
    return count, source


_processors, _processors_source = _usable_processors()
# More threads than the operating system grants would end the process.
_most = max(64, 4 * (os.cpu_count() or 1))
# OpenMP, too, reads it only once. For nested loops it may be a list, of which the first entry counts here.
_told = os.environ.get("OMP_NUM_THREADS")
_told_first = (_told or "").partition(",")[0].strip()
_told_number = int(_told_first) if _told_first.isdecimal() else None


def _checked(n: int) -> int:
    n = integer(n, "n")
    if not 1 <= n <= _most:
        raise ValueError(f"n={show(n)} must be at least 1 and at most {_most} on this machine")
    return n


def number_and_source() -> tuple[int, str]:
    """How many threads the next call may use, and which of the words in `show_config` says why."""
    if not engine.openmp_version():
        return 1, "built without OpenMP"
    if _forked:
        return 1, "fork"
    if here := _here.get():
        return here, "num_threads"
    if _everywhere:
        return _everywhere, "set_num_threads"
    limit: int = engine.openmp_max_threads()
    if _told is None and limit >= _processors:
        return _processors, _processors_source
    return min(limit, _most), "OMP_NUM_THREADS" if limit == _told_number else "OpenMP"


def set_num_threads(n: int) -> None:
    """Set the number of threads for the whole process.

    Parameters
    ----------
    n : int
        At least 1. More threads than processors are allowed, up to a limit that protects the process.

    Raises
    ------
    TypeError, ValueError
        If n is not such an integer.

    See Also
    --------
    num_threads : the same for a block of code.

    Examples
    --------
    Keep to the number that is used now, whatever OpenMP is told later:

    >>> import pyx_deconv as pxd
    >>> pxd.set_num_threads(pxd.get_num_threads())
    """
    global _everywhere
    _everywhere = _checked(n)


def get_num_threads() -> int:
    """Return how many threads the next call may use.

    In this order: 1 in a forked child; what `num_threads` says here; what `set_num_threads` said; else what
    OpenMP says (the environment variable OMP_NUM_THREADS, threadpoolctl), at most the processors that this
    process may use.

    Returns
    -------
    int
        At least 1. Small calls use fewer.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> with pxd.num_threads(1):
    ...     pxd.get_num_threads()
    1
    """
    return number_and_source()[0]


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Limit a block of code to n threads; other threads and tasks of the program are not affected.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If n is not such an integer.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> with pxd.num_threads(1):
    ...     pxd.get_num_threads()
    1
    """
    token = _here.set(_checked(n))
    try:
        yield
    finally:
        _here.reset(token)
