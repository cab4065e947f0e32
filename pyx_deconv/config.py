"""What was built, and what of it is used on this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from pyx_deconv import _arguments, kernels
from pyx_deconv.kernels import dispatch
from pyx_deconv.threads import number_and_source

__all__ = ["show_config"]

# The macro _OPENMP holds the month in which the specification appeared.
SPECIFICATIONS = {
    200505: "2.5", 200805: "3.0", 201107: "3.1", 201307: "4.0", 201511: "4.5", 201811: "5.0", 202011: "5.1",
    202111: "5.2", 202411: "6.0",
}  # fmt: skip


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...
def show_config(mode: str = "stdout") -> dict[str, dict[str, Any]] | None:
    """Show what was built and what of it is used on this machine, as a bug report needs it.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Whether to print it or to return it, as in `numpy.show_config`.

    Returns
    -------
    dict or None
        With "dicts", a new dictionary of dictionaries that can be written as JSON; otherwise None:

        - "pyx_deconv": the "version" and the "folder" it was imported from, "bounds checks" (a bool);
        - "instruction set": the one "chosen" at import, those "available" (built, and known to this
          processor; best last), and what "PYX_DECONV_INSTRUCTION_SET" asked for, or None;
        - "threads": the "number" that the next call may use, and its "source", which is one of "num_threads",
          "set_num_threads", "OMP_NUM_THREADS", "OpenMP" (omp_set_num_threads, threadpoolctl), "processors"
          (all of them), "affinity", "cgroup quota", "fork" and "built without OpenMP";
        - "OpenMP": the "version" of the specification that the compiler follows, its date as the integer
          yyyymm, and the file of the runtime "library". All are None in a build without OpenMP, the version
          where it is not known by its date, the library where the loader does not say;
        - "NumPy": the "version";
        - "Python": the "version", and the "system" and "machine" that it runs on.

    Raises
    ------
    TypeError, ValueError
        If mode is something else.

    See Also
    --------
    get_num_threads : the number of threads alone.

    Examples
    --------
    ``python -m pyx_deconv info`` prints the same.

    >>> import pyx_deconv as pxd
    >>> pxd.show_config()
    pyx_deconv       0...
    instruction set  ...
    threads          ...
    OpenMP           ...
    bounds checks    ...
    NumPy            ...
    Python           ...

    >>> chosen = pxd.show_config(mode="dicts")["instruction set"]
    >>> chosen["chosen"] in chosen["available"]
    True
    """
    mode = _arguments.mode(mode)
    config = _config()
    if mode == "dicts":
        return config
    for name, value in _rows(config).items():
        print(f"{name:<16} {value}")
    return None


def _config() -> dict[str, dict[str, Any]]:
    from pyx_deconv import __version__  # the one name from up the table: it has to stand in the package

    number, source = number_and_source()
    date = kernels.engine.openmp_version()
    return {
        "pyx_deconv": {
            "version": __version__,
            "folder": str(Path(__file__).parent),
            "bounds checks": bool(kernels.engine.bounds_checked),
        },
        "instruction set": {
            "chosen": kernels.instruction_set,
            "available": kernels.available_instruction_sets(),
            dispatch.VARIABLE: dispatch.asked,
        },
        "threads": {"number": number, "source": source},
        "OpenMP": {
            "version": SPECIFICATIONS.get(date),
            "date": date or None,
            "library": os.fsdecode(kernels.engine.openmp_library()) or None,
        },
        "NumPy": {"version": np.__version__},
        "Python": {
            "version": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
        },
    }


def _rows(config: dict[str, dict[str, Any]]) -> dict[str, str]:
    package, instructions, openmp = config["pyx_deconv"], config["instruction set"], config["OpenMP"]
    asked = f"; {dispatch.VARIABLE}={instructions[dispatch.VARIABLE]}" if dispatch.asked else ""
    version = f"{openmp['version'] or 'specification'} ({openmp['date']})"
    return {
        "pyx_deconv": "{version} in {folder}".format_map(package),
        "instruction set": f"{instructions['chosen']} of {', '.join(instructions['available'])}{asked}",
        "threads": "{number} ({source})".format_map(config["threads"]),
        "OpenMP": f"{version} in {openmp['library'] or 'an unknown library'}" if openmp["date"] else "none",
        "bounds checks": "on" if package["bounds checks"] else "off",
        "NumPy": config["NumPy"]["version"],
        "Python": "{version} on {system} {machine}".format_map(config["Python"]),
    }
