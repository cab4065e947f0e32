"""The same operations on dask arrays: chunk by chunk, lazily, on any scheduler.

===============  ======================================================================================
``_functional``  ``conv_transpose``, ``conv`` and their gradients: what they promise
``_chunks``      which chunk is made of which: graphs, no data
``_tasks``       what a worker does with the data of a chunk
===============  ======================================================================================
"""

try:
    import dask.array  # noqa: F401
except ImportError as error:
    raise ImportError('pyx_deconv.dask needs dask: pip install "pyx_deconv[dask]"') from error

from pyx_deconv.dask._functional import conv, conv_backward, conv_transpose, conv_transpose_backward

__all__ = ["conv", "conv_backward", "conv_transpose", "conv_transpose_backward"]
