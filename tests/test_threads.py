"""The same bits for any number of threads, from any number of callers, and in a forked child."""

import concurrent.futures
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import drawing
import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv import kernels

# Several million multiplications each, which is enough to be cut into tasks for several threads.
LAYERS = {
    "dense": ((2, 24, 16, 16), (24, 24, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "image": ((1, 3, 64, 64), (3, 16, 4, 4), {"stride": 2, "padding": 1}),
    "few channels": ((1, 1, 120, 120), (1, 1, 9, 9), {"stride": 3, "padding": "same"}),
    "groups": ((2, 32, 16, 16), (32, 8, 5, 5), {"stride": (1, 2), "dilation": (2, 1), "groups": 4}),
    "depthwise": ((2, 48, 16, 16), (48, 1, 5, 5), {"stride": 2, "padding": 2, "groups": 48}),
    "channels last": (
        (2, 17, 18, 20),
        (20, 33, 3, 3),
        {"stride": 1, "padding": "same", "data_format": "channels_last"},
    ),
    "line": ((1, 130, 64), (130, 17, 16), {"stride": 8, "padding": 4}),
    "long line": ((1, 40, 50), (40, 1, 512), {"stride": 128}),
    "volume": ((1, 12, 8, 8, 8), (12, 12, 3, 3, 3), {"stride": (2, 1, 2), "padding": 1}),
    "batch": ((48, 8, 6, 6), (8, 8, 5, 5), {"stride": 1}),
    "one pixel": ((16, 256, 1, 1), (256, 64, 4, 4), {}),
}
DTYPES = [np.dtype(name) for name in ("float32", "float64", "complex64", "float16")] + drawing.BFLOAT16
CUT = [(name, dtype) for name in LAYERS for dtype in DTYPES[: 2 if name not in ("groups", "line") else None]]


def is_serial():
    with pxd.num_threads(2):
        return pxd.get_num_threads() == 1


needs_threads = pytest.mark.skipif(is_serial(), reason="built without OpenMP")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def layer(name, dtype=DTYPES[0], transposed=True):
    """The call of a layer; as a convolution with the same weight it starts from the large map."""
    shape, weight, settings = LAYERS[name]
    rng = np.random.default_rng(len(name))
    groups = settings.get("groups", 1)
    bias = weight[1] * groups if transposed else weight[0]
    settings = dict(settings)
    if not transposed:
        settings.pop("output_padding", None)
        last = settings.get("data_format") == "channels_last"
        spatial = [2 * n + k for n, k in zip(shape[1:-1] if last else shape[2:], weight[2:], strict=True)]
        shape = (shape[0], *spatial, weight[1] * groups) if last else (shape[0], weight[1] * groups, *spatial)
    return drawing.Call(
        transposed,
        drawing.values(rng, shape, dtype),
        drawing.values(rng, weight, dtype),
        drawing.values(rng, (bias,), dtype),
        settings,
    )


def bits(call):
    """All results of a call, as bytes."""
    y = call.forward(pxd)
    g = drawing.grad_output_for(call, y.shape)
    return [array.tobytes() for array in (y, *call.backward(pxd, g))]


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize(("name", "dtype"), CUT)
def test_any_number_of_threads_gives_the_same_bits(name, dtype, transposed):
    call = layer(name, dtype, transposed)
    with pxd.num_threads(1):
        alone = bits(call)
    for threads in (2, 3, 4, 7):
        with pxd.num_threads(threads):
            for role, one, other in zip(("y", "x", "weight", "bias"), alone, bits(call), strict=True):
                assert one == other, f"{role} with {threads} threads"


def test_repeated_calls_give_the_same_bits():
    call = layer("groups")
    with pxd.num_threads(4):
        first = bits(call)
        assert all(bits(call) == first for _ in range(5))


def test_concurrent_callers_give_the_same_bits():
    calls = [layer(name, dtype) for name in LAYERS for dtype in (DTYPES[0], DTYPES[1])]
    alone = [bits(call) for call in calls]

    def work(number):
        with pxd.num_threads(1 + number % 3):
            return bits(calls[number % len(calls)])

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for number, result in enumerate(pool.map(work, range(2 * len(calls)))):
            assert result == alone[number % len(calls)], number


def test_callers_share_the_layers_plan_safely():
    """Many callers meet the same new shapes at once."""
    rng = np.random.default_rng(0)
    calls = [
        drawing.Call(
            True, rng.standard_normal((1, 2, n)), rng.standard_normal((2, 2, 3)), None, {"stride": 2}
        )
        for n in range(1000, 1040)
    ]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(bits, [call for call in calls for _ in range(4)]))
    assert together == [result for call in calls for result in [bits(call)] * 4]


@needs_threads
@pytest.mark.skipif(kernels.engine.bounds_checked, reason="with bounds checks, tasks can raise errors")
@pytest.mark.parametrize("name", ["dense", "depthwise", "one pixel"])
def test_threads_of_a_kernel_do_not_wait_for_the_interpreter(name):
    """Whoever takes the GIL has a state, which is counted here; only threads that Python started may."""
    call, most = layer(name), 0

    def work():
        with pxd.num_threads(4):
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                bits(call)

    before = len(sys._current_exceptions())
    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():  # also where it fails
        most = max(most, len(sys._current_exceptions()))
    worker.join()
    assert most == before + 1


@needs_fork
def test_forked_child_computes_the_same():
    call = layer("dense")
    with pxd.num_threads(4):
        want = bits(call)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            status = 1
            try:
                status = 0 if bits(call) == want and pxd.get_num_threads() >= 1 else 2
            finally:
                os._exit(status)
    assert wait(child, 60) == 0
    assert bits(call) == want, "the parent goes on"


def wait(child, seconds):
    """Return the exit status of a child, which is ended if it hangs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail(f"the child did not end within {seconds} s")


def _in_child(name):
    return bits(layer(name))


@needs_fork
def test_multiprocessing_with_fork():
    with pxd.num_threads(3):
        want = [bits(layer(name)) for name in ("dense", "volume")]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_in_child, ["dense", "volume"]).get(timeout=60) == want


PROBE = """
import json, os, numpy as np, pyx_deconv as pxd
before = pxd.get_num_threads()
x = np.ones((2, 64, 40, 40), np.float32)
pxd.conv_transpose(x, np.ones((64, 64, 3, 3), np.float32), stride=2)
tasks = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else None
print(json.dumps([before, tasks]))
"""


def probe(program=PROBE, **environment):
    remove = {"OMP_NUM_THREADS", "OMP_THREAD_LIMIT", *environment}
    kept = {name: value for name, value in os.environ.items() if name not in remove}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


@needs_threads
@pytest.mark.parametrize("threads", [1, 3])
def test_omp_num_threads(threads):
    one, _ = probe(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    before, tasks = probe(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS="1")
    assert one == 1
    assert before == threads
    if tasks is not None:
        assert tasks == threads, "as many as were asked for were started"


@needs_threads
def test_set_num_threads_starts_that_many():
    program = PROBE.replace("before =", "pxd.set_num_threads(4); before =")
    before, tasks = probe(program, OPENBLAS_NUM_THREADS="1")
    assert before == 4
    assert tasks in (None, 4)


@needs_threads
def test_threadpoolctl_is_respected():
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    with threadpoolctl.threadpool_limits(1):
        assert pxd.get_num_threads() == 1
    program = (
        "import json, threadpoolctl, pyx_deconv as pxd\n"
        + """
with threadpoolctl.threadpool_limits(2, user_api="openmp"):
    print(json.dumps(pxd.get_num_threads()))
"""
    )
    assert probe(program, OMP_NUM_THREADS="4") == 2


def test_num_threads_ends_with_its_block():
    before = pxd.get_num_threads()
    with pxd.num_threads(5):
        inside = pxd.get_num_threads()
        with pxd.num_threads(2):
            assert pxd.get_num_threads() == min(inside, 2)
        assert pxd.get_num_threads() == inside
    assert pxd.get_num_threads() == before
