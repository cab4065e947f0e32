"""What every compiled variant of ``engine.pyx`` offers; ``portable.pyi`` and its siblings repeat it."""

from collections.abc import Callable
from typing import Any, Protocol, type_check_only

from .plan_columns import ColumnsFields
from .plan_columns_gradient import ColumnsGradientFields
from .plan_correlation import CorrelationFields
from .plan_lines_gradient import LinesGradientFields
from .plan_pair_gradient import PairGradientFields
from .plan_weight_gradient import GradientFields, WeightGradientFields

@type_check_only
class Fused(Protocol):
    """One compiled function for each pair of types: ``correlate["half|float"]``."""

    def __getitem__(self, types: str) -> Callable[..., Any]: ...

tile_rows: int
tall_rows: int
tile_bytes: int
tile_unit: int
bounds_checked: bool
in_twos: bool

class CorrelationPlan:
    def __init__(self, fields: CorrelationFields) -> None: ...
    @property
    def tasks(self) -> int: ...
    @property
    def packed_size(self) -> int: ...
    @property
    def along_lines(self) -> bool: ...
    @property
    def across(self) -> bool: ...
    @property
    def group_lanes(self) -> int: ...
    @property
    def dots(self) -> bool: ...
    @property
    def work_size(self) -> int: ...

class ColumnsPlan:
    def __init__(self, fields: ColumnsFields) -> None: ...
    @property
    def tasks(self) -> int: ...
    @property
    def work_size(self) -> int: ...
    @property
    def columns_size(self) -> int: ...

class GradientPlan:
    def __init__(self, fields: GradientFields) -> None: ...
    @property
    def tasks(self) -> int: ...
    @property
    def work_size(self) -> int: ...
    @property
    def swapped(self) -> bool: ...

class WeightGradientPlan(GradientPlan):
    def __init__(self, fields: WeightGradientFields) -> None: ...

class PairGradientPlan(GradientPlan):
    def __init__(self, fields: PairGradientFields) -> None: ...

class ColumnsGradientPlan(GradientPlan):
    def __init__(self, fields: ColumnsGradientFields) -> None: ...

class LinesGradientPlan(GradientPlan):
    def __init__(self, fields: LinesGradientFields) -> None: ...

pack_weight: Fused
correlate: Fused
scatter_columns: Fused
gather_columns: Fused
weight_gradient: Fused
pair_gradient: Fused
columns_gradient: Fused
lines_gradient: Fused
sum_chunks: Fused

def weight_in_twos(weight: Any, twos: Any, threads: int) -> bool: ...
def openmp_version() -> int: ...
def openmp_max_threads() -> int: ...
def openmp_library() -> bytes: ...
def x86_64_level() -> int: ...
