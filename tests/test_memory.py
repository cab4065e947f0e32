"""Large results are written to blocks that earlier ones have left."""

import gc
import mmap
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv import _memory

FLOAT = np.dtype(np.float32)
# More than LARGE bytes of float32
SHAPE = (9, 1024, 1024)

pytestmark = pytest.mark.skipif(not _memory._PRIVATE, reason="no private anonymous maps on this system")


@pytest.fixture(autouse=True)
def nothing_kept():
    _memory._unused.clear()
    yield
    _memory._unused.clear()


def address(array):
    return array.__array_interface__["data"][0]


def kept():
    return sum(map(len, _memory._unused))


def test_a_block_is_used_again_when_its_array_is_gone():
    first = _memory.empty(SHAPE, FLOAT)
    first[:] = 7
    place, view = address(first), first[3, 5:9]
    second = _memory.empty(SHAPE, FLOAT)
    assert address(second) != place
    del first
    third = _memory.empty(SHAPE, FLOAT)
    assert address(third) not in (place, address(second)), "a view still needs it"
    np.testing.assert_array_equal(view, 7)
    del view
    gc.collect()
    assert address(_memory.empty(SHAPE, FLOAT)) == place


def test_arrays_are_ordinary():
    array = _memory.empty(SHAPE, FLOAT)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    assert address(array) % 64 == 0
    assert array.shape == SHAPE
    assert array.dtype == FLOAT


def test_a_block_much_larger_than_needed_waits_for_another():
    large = _memory.empty((2, *SHAPE), FLOAT)
    place = address(large)
    del large
    small = _memory.empty(SHAPE, FLOAT)
    assert address(small) != place
    assert address(_memory.empty((2, *SHAPE), FLOAT)) == place


def test_a_system_without_huge_pages_gives_small_ones(monkeypatch):
    class WithoutHugePages(mmap.mmap):
        def madvise(self, *_):
            raise OSError("no such advice")

    monkeypatch.setattr(_memory.mmap, "mmap", WithoutHugePages)
    assert _memory.empty(SHAPE, FLOAT).shape == SHAPE


def test_small_arrays_get_no_block():
    array = _memory.empty((100, 100), FLOAT)
    array = _memory.empty((_memory.LARGE // 4 - 1,), FLOAT)
    del array
    assert kept() == 0


def test_no_more_is_kept_than_promised(monkeypatch):
    monkeypatch.setattr(_memory, "MOST_KEPT", 100 * 2**20)
    arrays = [_memory.empty(SHAPE, FLOAT) for _ in range(4)]
    del arrays
    assert 0 < kept() <= 100 * 2**20


def test_results_are_right_in_used_memory():
    x = np.random.default_rng(0).standard_normal((1, 2, 700, 700)).astype(FLOAT)
    weight = np.random.default_rng(1).standard_normal((2, 5, 2, 2)).astype(FLOAT)
    want = pxd.conv_transpose(x, weight, stride=2).copy()
    place = address(pxd.conv_transpose(x, weight, stride=2))
    for block in _memory._unused:
        block[:] = b"\xff" * len(block)  # NaN
    again = pxd.conv_transpose(x, weight, stride=2)
    assert address(again) == place
    np.testing.assert_array_equal(again, want)


def test_threads_never_share_a_block():
    wrong = []

    def work(number):
        for _ in range(20):
            array = _memory.empty(SHAPE, FLOAT)
            array[::3, ::512] = number
            if not (array[::3, ::512] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_memory_of_its_own():
    array = _memory.empty(SHAPE, FLOAT)
    array[:] = 1
    child = os.fork()
    if child == 0:
        array[:] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert (array == 1).all()


def test_arrays_that_live_until_the_end_do_no_harm():
    code = (
        "import numpy as np; from pyx_deconv import _memory; shape = 9, 1024, 1024; "
        "a, b = (_memory.empty(shape, np.dtype('f4')) for _ in range(2)); del b; a[:] = 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_there_is_no_room_for():
    with pytest.raises(MemoryError, match=r"no room for an array of shape \(4194304, 4194304\)"):
        _memory.empty((2**22, 2**22), FLOAT)
