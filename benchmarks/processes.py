"""One process per library, on the same processors; all but the one that is asked are stopped.

Without that, the threads of a library that spin for a while after a call would take the time of the next one.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.libraries import MACHINE

__all__ = ["Pool", "Process", "processors"]

# The installed pyx_deconv goes before the sources, which are not compiled: hence -P, and the folder last.
BOOT = "import sys; sys.path.append({root!r}); from benchmarks.worker import main; main()"
START_S = 120.0
ANSWER_S = 60.0

# glibc maps every block above 32 MB anew, page by page; told not to, it uses freed blocks again.
REUSED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


def processors() -> list[int]:
    """Return the processors that this process may use; empty where the system cannot pin."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Process:
    """The process of one library."""

    def __init__(self, name: str, threads: int, reuse: bool, log: Path) -> None:
        self.name, self.threads, self.reuse, self.log = name, threads, reuse, log
        self.start()

    def start(self) -> None:
        """Start it; `hello` waits for it."""
        cores = processors()[-self.threads :]  # the first one serves most interrupts
        root = str(Path(__file__).resolve().parent.parent)
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | {variable: str(self.threads) for variable in variables}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"} | (REUSED_MEMORY if self.reuse else {})
        command = [sys.executable, "-P", "-c", BOOT.format(root=root)]
        command += [self.name, str(self.threads), ",".join(map(str, cores))]
        with self.log.open("a") as log:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )

    def hello(self) -> dict[str, Any]:
        """Wait for the first answer: version and layouts, or what is missing."""
        answer = self._answer(START_S)
        self._signal("SIGSTOP")
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have a method called; a process that dies or does not answer is started anew."""
        self._signal("SIGCONT")
        try:
            self.popen.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.popen.stdin.flush()
            answer = self._answer(ANSWER_S)
        except BrokenPipeError:
            answer = {"failed": "the process ended"}
        if "restart" in answer or self.popen.poll() is not None:
            self.end()
            self.start()
            self.hello()
            return {"failed": answer.get("restart", "the process ended")}
        self._signal("SIGSTOP")
        return answer

    def end(self) -> None:
        """End it."""
        self._signal("SIGCONT")
        self.popen.kill()
        self.popen.wait()
        with suppress(BrokenPipeError):
            self.popen.stdin.close()
        self.popen.stdout.close()

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):  # not on Windows
            self.popen.send_signal(getattr(signal, name))

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        # One line, and the next one comes only after the next request: nothing is left in a buffer.
        if not select.select([self.popen.stdout], [], [], timeout_s)[0]:
            return {"restart": f"no answer within {timeout_s:.0f} s"}
        line = self.popen.stdout.readline()
        return json.loads(line) if line else {"restart": f"the process ended: see {self.log.name}"}


class Pool:
    """The processes for one number of threads and one way to use memory."""

    def __init__(self, names: Iterable[str], threads: int, reuse: bool, logs: Path) -> None:
        self.names, self.threads, self.reuse, self.logs = (MACHINE, *names), threads, reuse, logs
        self.libraries: dict[str, Process] = {}
        self.layouts: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}  # library: why it is not there

    def __enter__(self) -> Self:
        """Start all of them at once, then wait for each."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for name in self.names:
                process = Process(name, self.threads, self.reuse, self.logs / f"{name}.log")
                stack.callback(process.end)
                self.libraries[name] = process
            for name, process in list(self.libraries.items()):
                hello = process.hello()
                if "version" in hello:
                    self.versions[name], self.layouts[name] = hello["version"], hello["layouts"]
                else:
                    self.missing[name] = hello.get("missing") or hello["restart"]
                    del self.libraries[name]
            if MACHINE in self.missing:
                raise RuntimeError(f"NumPy does not run: {self.missing[MACHINE]}")
            self.machine = self.libraries.pop(MACHINE)
            self.stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()
