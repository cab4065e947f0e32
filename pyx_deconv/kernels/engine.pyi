"""What every compiled variant of ``engine.pyx`` offers; ``baseline.pyi`` and its siblings repeat it."""

from collections.abc import Callable
from typing import Any, Protocol, type_check_only

from .plan import CorrelationFields, WeightGradientFields

@type_check_only
class Fused(Protocol):
    """One compiled function for each pair of types: ``correlate["half|float"]``."""

    def __getitem__(self, types: str) -> Callable[..., Any]: ...

tile_rows: int
tile_bytes: int
bounds_checked: bool

class CorrelationPlan:
    def __init__(self, fields: CorrelationFields) -> None: ...
    @property
    def tasks(self) -> int: ...
    @property
    def zeros(self) -> int: ...
    @property
    def along_lines(self) -> bool: ...
    @property
    def work_size(self) -> int: ...

class WeightGradientPlan:
    def __init__(self, fields: WeightGradientFields) -> None: ...
    @property
    def tasks(self) -> int: ...
    @property
    def work_size(self) -> int: ...

pack_weight: Fused
correlate: Fused
weight_gradient: Fused
sum_chunks: Fused

def openmp_version() -> int: ...
def openmp_max_threads() -> int: ...
def x86_64_level() -> int: ...
