"""Plans are cached by shapes alone: tests that change how they are made must neither find nor leave any."""

import contextlib

import pytest

from pyx_deconv import kernels


@contextlib.contextmanager
def new_plans():
    """Plans made meanwhile are not those of before, and not used afterwards."""
    caches = kernels._correlation_plan, kernels._columns_plan, kernels._weight_gradient_plan
    with pytest.MonkeyPatch.context() as patch:
        for cache in caches:
            cache.cache_clear()
        try:
            yield patch
        finally:
            for cache in caches:
                cache.cache_clear()
