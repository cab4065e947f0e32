"""What the samples say. Ratios are taken sample by sample, inside one rotation of all libraries."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.layers import Layer
from benchmarks.libraries import OWN
from benchmarks.store import Store

__all__ = ["Spread", "Table", "Tables", "geometric_mean", "tables"]


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Summarise at least one value."""
        return cls(*np.quantile(list(values), (0.25, 0.5, 0.75)).tolist())


class Row:
    """One measured case."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.layer = Layer.from_dict(record["layer"])
        self.operation: str = record["operation"]
        self.timed: dict[str, dict[str, Any]] = record["timed"]
        self.own = self.best_of(OWN)

    def best_of(self, library: str) -> str | None:
        """Return the key of a library's better layout, or None where it was not timed."""
        keys = [key for key, row in self.timed.items() if key.split()[0] == library and row["seconds"]]
        return min(keys, key=self.median_s, default=None)

    def median_s(self, key: str) -> float:
        """Return the median time of a call."""
        return float(np.median(self.timed[key]["seconds"]))

    @cached_property
    def best(self) -> dict[str, str]:
        """Every timed library's better layout, pyx_deconv included."""
        libraries = dict.fromkeys(key.split()[0] for key in self.timed)
        return {library: key for library in libraries if (key := self.best_of(library))}

    @cached_property
    def best_peer(self) -> str | None:
        """The key of the fastest of the others."""
        return min((key for name, key in self.best.items() if name != OWN), key=self.median_s, default=None)

    def seconds(self, key: str) -> Spread:
        """Return the time of a call."""
        return Spread.of(self.timed[key]["seconds"])

    def times_faster(self, than: str | None, key: str | None = None) -> Spread | None:
        """Return how many times faster pyx_deconv (or another key) is than another; 2: half the time."""
        key = key or self.own
        if than is None or key is None:
            return None
        pairs = zip(self.timed[than]["seconds"], self.timed[key]["seconds"], strict=False)
        return Spread.of(theirs / ours for theirs, ours in pairs)

    def of_peak(self, key: str) -> Spread:
        """Return the fraction of the FMA peak just before and after."""
        row = self.timed[key]
        pairs = zip(row["seconds"], row["peak"], strict=True)
        return Spread.of(self.layer.flop / seconds / peak for seconds, peak in pairs)

    @property
    def roof(self) -> float:
        """What FMA peak and copy bandwidth allow a call that moves every array once, in FLOP/s."""
        return min(self.peak, self.copy * self.layer.flop / self.layer.bytes)

    @property
    def peak(self) -> float:
        """The median FMA peak of the case in FLOP/s."""
        return float(np.median([rate for row in self.timed.values() for rate in row["peak"]]))

    @property
    def copy(self) -> float:
        """The median copy bandwidth of the case in bytes/s."""
        return float(np.median(self.record["copy"]))

    def flops(self, key: str) -> float:
        """Return the median rate in FLOP/s."""
        return self.layer.flop / self.median_s(key)

    def of_roof(self, key: str) -> float:
        """Return the fraction of the roofline."""
        return self.flops(key) / self.roof


@dataclass(frozen=True)
class Table:
    """All cases of one number of threads and one way to use memory, by (layer, operation)."""

    threads: int
    memory: str
    rows: dict[tuple[str, str], Row]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def get(self, row: Row) -> Row | None:
        """Return the row of the same layer and pass in this table."""
        return self.rows.get((row.layer.name, row.operation))


Tables = dict[tuple[int, str], Table]


def tables(store: Store, order: list[str]) -> Tables:
    """Return the tables by (threads, memory), the rows in the order of the layers; only these layers."""
    records = [record for record in store.records.values() if record["layer"]["name"] in order]
    records.sort(key=lambda record: order.index(record["layer"]["name"]))
    found: Tables = {}
    for record in records:
        row = Row(record)
        if row.own is None:
            continue  # pyx_deconv failed: the report lists it with what was skipped
        kind = record["threads"], record["memory"]
        table = found.setdefault(kind, Table(*kind, {}))
        table.rows[row.layer.name, row.operation] = row
    return dict(sorted(found.items()))


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean; NaN of nothing."""
    values = list(values)
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")
