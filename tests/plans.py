"""Plans are cached by shapes alone: tests that change how they are made must neither find nor leave any."""

import contextlib

import pytest

from pyx_deconv import _execution, kernels


@contextlib.contextmanager
def new_plans():
    """Plans made meanwhile are not those of before, and not used afterwards."""

    def forget():
        for cache in (kernels._correlation_plan, kernels._columns_plan, kernels._weight_gradient_plan):
            cache.cache_clear()
        _execution._forward.clear()
        _execution._backward.clear()

    with pytest.MonkeyPatch.context() as patch:
        forget()
        try:
            yield patch
        finally:
            forget()
