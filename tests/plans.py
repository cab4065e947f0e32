"""Plans are cached by shapes alone: tests that change how they are made must neither find nor leave any."""

import contextlib

import pytest

from pyx_deconv import _execution, kernels
from pyx_deconv.kernels import plan_correlation, plan_costs, taps


@contextlib.contextmanager
def new_plans():
    """Plans made meanwhile are not those of before, and not used afterwards."""

    def forget():
        for cache in (kernels._correlation_plan, kernels._columns_plan, kernels._weight_gradient_plan):
            cache.cache_clear()
        _execution._forward.clear()
        _execution._backward.clear()

    with pytest.MonkeyPatch.context() as patch:
        # bfloat16 goes the ways of float32, unless test_dots says otherwise.
        arithmetic = kernels.ARITHMETIC["bfloat16"]
        without = arithmetic._replace(tile=arithmetic.tile._replace(dots=False))
        patch.setitem(kernels.ARITHMETIC, "bfloat16", without)
        forget()
        try:
            yield patch
        finally:
            forget()


def make_pairs_cheap(patch):
    """Outputs in pairs for any shape that has fewer products so."""
    for name in ("POINT", "VALUE_OF_PAIR", "ADDED_TO_PAIR", "SUM_OF_WEIGHTS", "PACKED_AGAIN", "SEPARATED"):
        patch.setattr(plan_costs, name, 0)
    patch.setattr(taps, "APART", 1)


def watch_cuts(patch):
    """List how each correlation is cut from now on."""
    cuts, cut = [], plan_correlation.correlation

    def watched(*arguments, **options):
        cuts.append(cut(*arguments, **options))
        return cuts[-1]

    patch.setattr(plan_correlation, "correlation", watched)
    return cuts
