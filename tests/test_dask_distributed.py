"""Several processes, one of which dies; images in Zarr, from file to file."""

import os
import signal

import numpy as np
import pytest

import pyx_deconv as pxd

pytest.importorskip("dask.array", reason="dask is not installed")
pytest.importorskip("distributed", reason="distributed is not installed")

import dask
import dask.array as da
import distributed

import pyx_deconv.dask as pxd_dask
from pyx_deconv.dask import _tasks

pytestmark = pytest.mark.filterwarnings("default")  # what distributed says of a worker that dies

SETTINGS = {"stride": 2, "padding": 1, "output_padding": 1}
X = np.random.default_rng(0).standard_normal((1, 3, 90, 70), np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((3, 4, 3, 3), np.float32)


def cluster_of(workers, threads, **options):
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        processes=True,
        dashboard_address=":0",
        protocol="tcp",
        host="127.0.0.1",
        **options,
    )


@pytest.fixture(scope="module")
def client():
    with cluster_of(2, 1) as cluster, distributed.Client(cluster) as client:
        yield client


def lazily(x=X, chunks=(1, 2, 16, 21)):
    """The result and the gradients of one call."""
    lazy = da.from_array(x, chunks=chunks)
    y = pxd_dask.conv_transpose(lazy, WEIGHT, **SETTINGS)
    return y, *pxd_dask.conv_transpose_backward(y / 8, lazy, WEIGHT, **SETTINGS)


def bits(arrays):
    return [array.tobytes() for array in arrays]


def test_processes_give_the_same_bits(client):
    got = bits(client.gather(client.compute(lazily())))
    assert got == bits(dask.compute(*lazily(), scheduler="synchronous"))
    assert got[0] == pxd.conv_transpose(X, WEIGHT, **SETTINGS).tobytes()


def test_the_number_of_workers_does_not_matter():
    with cluster_of(1, 3) as cluster, distributed.Client(cluster) as alone:
        got = bits(alone.gather(alone.compute(lazily())))
    assert got == bits(dask.compute(*lazily(), scheduler="synchronous"))


def test_a_worker_that_dies_changes_nothing(client, tmp_path):
    flag = tmp_path / "died"

    # A function of a function travels as it is: workers cannot import a test file.
    def dies_once(block, block_info=None):
        """The first time that a chunk in the middle is made, its worker is gone."""
        if block_info and block_info[0]["chunk-location"][2:] == (2, 1):
            try:
                os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return block
            os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        return block

    before = set(client.run(os.getpid).values())
    lazy = da.from_array(X, chunks=(1, 3, 16, 21)).map_blocks(
        dies_once, dtype=X.dtype, meta=np.empty((0,) * 4, X.dtype)
    )
    y = pxd_dask.conv_transpose(lazy, WEIGHT, **SETTINGS)
    gradients = pxd_dask.conv_transpose_backward(y / 8, lazy, WEIGHT, **SETTINGS)
    got = bits(client.gather(client.compute([y, *gradients])))
    assert flag.exists(), "a worker died"
    client.wait_for_workers(2)
    assert len(before - set(client.run(os.getpid).values())) == 1
    assert got == bits(dask.compute(*lazily(chunks=(1, 3, 16, 21)), scheduler="synchronous"))


def test_a_task_uses_its_share_of_the_threads(client):
    assert set(client.run(_tasks.share).values()) == {1}
    with pxd.num_threads(2):
        serial = pxd.get_num_threads() == 1
    with (
        cluster_of(1, 2, env={"OMP_NUM_THREADS": "4"}) as cluster,
        distributed.Client(cluster) as wide,
    ):
        assert wide.submit(_tasks.share, pure=False).result() == (1 if serial else 2)


def test_from_zarr_to_zarr(client, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    source = zarr.open(
        str(tmp_path / "in.zarr"), mode="w", shape=(300, 260, 3), chunks=(64, 64, 3), dtype="f4"
    )
    image = np.random.default_rng(2).random((300, 260, 3), np.float32)
    source[...] = image
    lazy = da.from_zarr(str(tmp_path / "in.zarr"))
    settings = {"stride": 2, "padding": "same", "groups": 3, "data_format": "channels_last"}
    weight = np.random.default_rng(3).random((3, 1, 4, 4), np.float32)
    y = pxd_dask.conv_transpose(lazy, weight, **settings)
    assert y.chunks[:2] == ((128,) * 4 + (88,), (128,) * 4 + (8,))
    y.to_zarr(str(tmp_path / "out.zarr"))
    written = zarr.open(str(tmp_path / "out.zarr"), mode="r")
    assert written.chunks == (128, 128, 3)
    np.testing.assert_array_equal(written[...], pxd.conv_transpose(image, weight, **settings))
