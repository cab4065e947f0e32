"""show_config: what was built and what is used, in both modes, and where the number of threads is from."""

import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv import config, kernels, threads

OPENMP = kernels.engine.openmp_version() != 0
needs_threads = pytest.mark.skipif(not OPENMP, reason="built without OpenMP")
needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes"
)


def in_child(before="", after="", **environment):
    """The configuration that a new process reports, without what this one was told of threads."""
    told = ("OMP_", "PYX_DECONV_INSTRUCTION_SET")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    code = (
        f"import json, os\n{before}\nimport pyx_deconv as pxd\n{after}\n"
        "print(json.dumps(pxd.show_config(mode='dicts')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def printed(capsys):
    assert pxd.show_config() is None
    return {line[:16].strip(): line[17:] for line in capsys.readouterr().out.splitlines()}


def test_the_dictionaries():
    found = pxd.show_config(mode="dicts")
    assert found["pyx_deconv"] == {
        "version": pxd.__version__,
        "folder": str(Path(pxd.__file__).parent),
        "bounds checks": os.environ.get("PYX_DECONV_CHECKED") == "1",
    }
    assert found["instruction set"] == {
        "chosen": kernels.instruction_set,
        "available": kernels.available_instruction_sets(),
        "PYX_DECONV_INSTRUCTION_SET": os.environ.get("PYX_DECONV_INSTRUCTION_SET"),
    }
    assert found["threads"]["number"] == pxd.get_num_threads()
    assert found["NumPy"] == {"version": np.__version__}
    assert found["Python"] == {
        "version": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    assert json.loads(json.dumps(found)) == found


def test_the_dictionaries_are_the_callers_own():
    found = pxd.show_config("dicts")
    found["instruction set"]["available"].clear()
    found["threads"]["number"] = -1
    assert pxd.show_config("dicts")["instruction set"]["available"]
    assert pxd.show_config("dicts")["threads"]["number"] > 0


def test_the_rows(capsys):
    found, rows = pxd.show_config("dicts"), printed(capsys)
    assert list(rows) == [
        "pyx_deconv", "instruction set", "threads", "OpenMP", "bounds checks", "NumPy", "Python"
    ]  # fmt: skip
    assert rows["instruction set"].startswith(
        f"{kernels.instruction_set} of {', '.join(kernels.available_instruction_sets())}"
    )
    assert rows["threads"] == f"{pxd.get_num_threads()} ({found['threads']['source']})"
    assert rows["bounds checks"] == ("on" if kernels.engine.bounds_checked else "off")
    assert rows["NumPy"] == np.__version__


@pytest.mark.parametrize("asked", [None, "portable"])
def test_what_the_variable_asked_for(asked, capsys, monkeypatch):
    monkeypatch.setattr(kernels.dispatch, "asked", asked)
    assert pxd.show_config("dicts")["instruction set"]["PYX_DECONV_INSTRUCTION_SET"] == asked
    shown = "; PYX_DECONV_INSTRUCTION_SET=portable" in printed(capsys)["instruction set"]
    assert shown == (asked is not None)


@needs_threads
def test_openmp():
    found = pxd.show_config("dicts")["OpenMP"]
    assert found["date"] == kernels.engine.openmp_version() >= 200505
    assert found["version"] in (None, *config.SPECIFICATIONS.values())
    maps = Path("/proc/self/maps")
    if maps.exists():
        loaded = {line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if "/" in line}
        assert os.path.realpath(found["library"]) in loaded
        assert "omp" in Path(found["library"]).name


@pytest.mark.parametrize(
    ("date", "library", "row", "version"),
    [
        (201511, b"/lib/libgomp.so.1", "4.5 (201511) in /lib/libgomp.so.1", "4.5"),
        (299912, b"", "specification (299912) in an unknown library", None),
        (0, b"", "none", None),
    ],
)
def test_other_builds(date, library, row, version, capsys, monkeypatch):
    monkeypatch.setattr(kernels.engine, "openmp_version", lambda: date)
    monkeypatch.setattr(kernels.engine, "openmp_library", lambda: library)
    found = pxd.show_config("dicts")
    assert found["OpenMP"] == {
        "version": version,
        "date": date or None,
        "library": library.decode() or None,
    }
    rows = printed(capsys)
    assert rows["OpenMP"] == row
    assert (rows["threads"] == "1 (built without OpenMP)") == (date == 0)


# --- where the number of threads is from --------------------------------------------------------------------


@needs_threads
def test_threads_from_the_program():
    with pxd.num_threads(3):
        assert pxd.show_config("dicts")["threads"] == {"number": 3, "source": "num_threads"}
        elsewhere = []
        other = threading.Thread(target=lambda: elsewhere.append(pxd.show_config("dicts")["threads"]))
        other.start()
        other.join()
        assert elsewhere[0]["source"] != "num_threads"
    found = in_child(after="pxd.set_num_threads(5)", OMP_NUM_THREADS="2")
    assert found["threads"] == {"number": 5, "source": "set_num_threads"}


@needs_threads
@pytest.mark.parametrize(("told", "number"), [("3", 3), (" 2,4 ", 2)])
def test_threads_from_the_environment(told, number):
    assert in_child(OMP_NUM_THREADS=told)["threads"] == {"number": number, "source": "OMP_NUM_THREADS"}


@needs_threads
def test_threads_from_openmp():
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    limit = "import threadpoolctl; threadpoolctl.threadpool_limits(2, user_api='openmp')"
    assert in_child(after=limit, OMP_NUM_THREADS="4")["threads"] == {"number": 2, "source": "OpenMP"}


@needs_threads
@needs_affinity
def test_threads_from_the_affinity():
    before = "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    source = "affinity" if os.cpu_count() > 1 else "processors"
    assert in_child(before)["threads"] == {"number": 1, "source": source}


@needs_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_in_a_forked_child():
    # The child goes on to the end of the program; the parent waits for it and ends without a word.
    after = "child = os.fork()\nif child: os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    assert in_child(after=after)["threads"] == {"number": 1, "source": "fork"}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_the_quota_of_a_container(files, quota, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == quota


@pytest.mark.parametrize(
    ("processors", "affinity", "quota", "usable"),
    [
        (8, 8, None, (8, "processors")),
        (8, 8, 8, (8, "processors")),
        (8, 4, None, (4, "affinity")),
        (8, 4, 6, (4, "affinity")),
        (8, 4, 3, (3, "cgroup quota")),
        (8, None, None, (8, "processors")),
        (8, None, 2, (2, "cgroup quota")),
        (None, None, None, (1, "processors")),
    ],
)
def test_usable_processors(processors, affinity, quota, usable, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    if affinity is None:  # as on macOS and Windows
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: quota)
    assert threads._usable_processors() == usable


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["", "dict", "yaml"])
def test_unknown_modes_are_refused(mode):
    with pytest.raises(ValueError, match=f"^mode must be 'stdout' or 'dicts', not {mode!r}$"):
        pxd.show_config(mode)


@pytest.mark.parametrize("mode", [None, True, 0, ["dicts"]])
def test_modes_of_other_types_are_refused(mode):
    with pytest.raises(TypeError, match=r"^mode must be a string, not .+ \(\w+\)$"):
        pxd.show_config(mode)
