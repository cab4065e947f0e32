"""The measurements of one machine: a JSON-lines file that only grows."""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from benchmarks.layers import Case

__all__ = ["Store", "machine_name"]

Key = tuple[str, str, int, str]


def machine_name() -> str:
    """Return the processor's model and the number of processors, as a name for files: no host name."""
    model = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = found[1] if found else model
    except OSError:
        pass
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{model} {os.cpu_count()} cpus").strip("-").lower()


class Store:
    """The latest measurement of every case; older ones stay in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[Key, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:  # the last line of a run that was killed
                    continue
                self.records[key_of(record)] = record

    def has(self, case: Case, versions: dict[str, str], rounds: int) -> bool:
        """Whether the case was measured with the same layer, at least these versions and rounds."""
        layer = case.layer.as_dict()
        record = self.records.get((layer["name"], case.operation, case.threads, case.memory))
        if record is None or json.dumps(record["layer"]) != json.dumps(layer):
            return False
        if len(record["copy"]) < rounds:
            return False
        return versions.items() <= record["versions"].items()

    def add(self, record: dict[str, Any]) -> None:
        """Append a record, and have it on the disk before the next case begins."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write("\n" * torn + json.dumps(record) + "\n")
        self.records[key_of(record)] = record


def key_of(record: dict[str, Any]) -> Key:
    """Return what tells cases apart."""
    return record["layer"]["name"], record["operation"], record["threads"], record["memory"]
