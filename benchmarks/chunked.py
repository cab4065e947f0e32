"""How pyx_deconv.dask scales, and how its memory stays flat: ``python -m benchmarks.chunked``, ``make dask``.

Every number comes from a process of its own, which says as JSON what it measured.
"""

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import processors

ROOT = Path(__file__).resolve().parent.parent
# The installed pyx_deconv goes before the sources, which are not compiled: hence -P, and the folder last.
BOOT = f"import sys; sys.path.append({str(ROOT)!r}); from benchmarks.chunked import child; child()"
REPEATS = 7
SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)  # GB of the image
BOUND = 2.0  # GB that a process may take
SIDE = 512  # of a chunk of the image
LARGE_SIDE = 1024  # where there would be so many chunks that their tasks take much memory
MARGIN = 8  # pixels that are computed too many, to compare a chunk with NumPy's

# Shape of x, its chunks, shape of the weight, settings
WORKLOADS: dict[str, tuple[Any, ...]] = {
    "16 to 8 channels": (
        (1, 16, 2048, 2048),
        (1, 16, 512, 512),
        (16, 8, 4, 4),
        {"stride": 2, "padding": 1},
    ),
    "red, green, blue": (
        (4096, 4096, 3),
        (1024, 1024, 3),
        (3, 1, 4, 4),
        {"stride": 2, "padding": 1, "groups": 3, "data_format": "channels_last"},
    ),
}
WAYS = {"numpy": "one NumPy array", "threads": "dask, threads", "processes": "dask, worker processes"}


# What runs in a process of its own.


def child() -> None:
    """Measure what the command line asks for."""
    what, arguments = sys.argv[1], json.loads(sys.argv[2])
    measured = {"scaling": scaling, "memory": memory, "memory_without_disk": memory_without_disk}[what]
    print(json.dumps(measured(**arguments)))


def timed(work: Callable[[int], Any]) -> list[float]:
    """Return the times of some calls with their numbers, after one that is not counted."""
    seconds = []
    for number in range(1 + REPEATS):
        start = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def scaling(workload: str, way: str, n: int) -> list[float]:
    """Time one transposed convolution, whose result stays where it is computed."""
    import dask
    import dask.array as da
    import distributed

    import pyx_deconv as pxd
    import pyx_deconv.dask

    shape, chunks, weight_shape, settings = WORKLOADS[workload]
    weight = np.random.default_rng(0).standard_normal(weight_shape, np.float32)
    if way == "numpy":
        x = np.random.default_rng(1).standard_normal(shape, np.float32)
        with pxd.num_threads(n):
            return timed(lambda number: pxd.conv_transpose(x, weight + number, **settings))

    def upsampled(x: da.Array, number: int) -> da.Array:
        # Another weight each time: a scheduler may still have the result of the same one.
        return pyx_deconv.dask.conv_transpose(x, weight + number, **settings)

    lazy = da.random.default_rng(1).random(shape, np.float32, chunks=chunks)
    if way == "threads":
        with dask.config.set(scheduler="threads", num_workers=n):
            lazy = lazy.persist()
            return timed(lambda number: upsampled(lazy, number).persist())
    cluster = distributed.LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
    with cluster, distributed.Client(cluster) as client:
        lazy = client.persist(lazy)
        distributed.wait(lazy)
        return timed(lambda number: distributed.wait(client.persist(upsampled(lazy, number))))


class Nowhere:
    """What takes a result and keeps nothing."""

    def __setitem__(self, place: object, block: object) -> None:
        """Forget the block."""


def peak() -> float:
    """Return the most memory that this process ever had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def memory_without_disk(gigabytes: float, threads: int) -> dict[str, float]:
    """Enlarge an image that is made chunk by chunk, and throw the result away."""
    import dask
    import dask.array as da

    import pyx_deconv.dask

    side = math.isqrt(round(gigabytes * 1e9 / 4))
    image = da.random.default_rng(0).random((1, side, side), np.float32, chunks=(1, LARGE_SIDE, LARGE_SIDE))
    weight = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    before, start = peak(), time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=threads):
        y = pyx_deconv.dask.conv_transpose(image, weight, stride=2, padding="same")
        y.store(Nowhere(), lock=False)
    return {"seconds": time.perf_counter() - start, "before": before, "peak": peak()}


def memory(gigabytes: float, threads: int, folder: str) -> dict[str, float]:
    """Enlarge an image of this size from Zarr to Zarr; return seconds and the largest memory ever taken."""
    import dask
    import dask.array as da
    import zarr

    import pyx_deconv as pxd
    import pyx_deconv.dask

    side = math.isqrt(round(gigabytes * 1e9 / 4))
    source, target = f"{folder}/in.zarr", f"{folder}/out.zarr"
    image = zarr.create_array(
        source, shape=(1, side, side), chunks=(1, SIDE, SIDE), dtype="f4", compressors=None
    )
    rng = np.random.default_rng(0)
    for top in range(0, side, SIDE):
        for left in range(0, side, SIDE):
            height, width = min(SIDE, side - top), min(SIDE, side - left)
            image[:, top : top + height, left : left + width] = rng.random((1, height, width), np.float32)
    weight = rng.random((1, 1, 8, 8), np.float32)
    before, start = peak(), time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=threads):
        y = pyx_deconv.dask.conv_transpose(da.from_zarr(source), weight, stride=2, padding="same")
        y.store(
            zarr.create_array(target, shape=y.shape, chunks=y.chunksize, dtype="f4", compressors=None),
            lock=False,
        )
    found = {"seconds": time.perf_counter() - start, "before": before, "peak": peak()}

    # A chunk in the middle, from its neighbourhood in one piece.
    first = side // 2 // SIDE * SIDE
    part = slice(first - MARGIN, first + SIDE + MARGIN)
    wanted = pxd.conv_transpose(image[:, part, part], weight, stride=2, padding="same")
    crop = slice(2 * MARGIN, 2 * MARGIN + 2 * min(SIDE, side - first))
    block = slice(2 * first, 2 * (first + SIDE))
    np.testing.assert_array_equal(zarr.open_array(target, mode="r")[:, block, block], wanted[:, crop, crop])
    return found


# What asks them.


def ask(what: str, **arguments: Any) -> Any:
    """Have something measured in a fresh process."""
    command = [sys.executable, "-P", "-c", BOOT, what, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_scaling(counts: Iterable[int]) -> dict[str, dict[str, dict[int, float]]]:
    """Return the median seconds by workload, way, and threads or processes."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for workload in WORKLOADS:
        for way in WAYS:
            for n in counts:
                seconds = statistics.median(ask("scaling", workload=workload, way=way, n=n))
                print(f"{workload}, {WAYS[way]}, {n}: {seconds * 1e3:.0f} ms", file=sys.stderr)
                found.setdefault(workload, {}).setdefault(way, {})[n] = seconds
    return found


def measure_memory(sizes: Iterable[float], threads: int, scratch: Path) -> dict[float, dict[str, float]]:
    """Return seconds and memory by the size of the image, as far as there is room on the disk."""
    found = {}
    for gigabytes in sizes:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            if shutil.disk_usage(folder).free < 6e9 * gigabytes:
                print(f"{gigabytes:g} GB left out: no room for it and its result", file=sys.stderr)
                continue
            found[gigabytes] = ask("memory", gigabytes=gigabytes, threads=threads, folder=folder)
        print(f"{gigabytes:g} GB: {found[gigabytes]['peak']:.2f} GB", file=sys.stderr)
    return found


def report(
    scaled: dict[str, Any],
    remembered: dict[float, dict[str, float]],
    without: dict[float, dict[str, float]],
    threads: int,
) -> str:
    """Return the page."""
    lines = [
        "# Measured: dask",
        "",
        f"By `make dask`, on {threads} processors, every number in a process of its own.",
        "[The guide](../how-to/dask.md) says what is measured and what follows.",
        "",
        "## Scaling",
        "",
        f"Median of {REPEATS} calls, by the number of threads or processes; in brackets how many times as",
        "fast as with one. The arrays are in memory before, and the result stays where it is computed.",
    ]
    for workload, ways in scaled.items():
        shape, chunks, *_ = WORKLOADS[workload]
        tasks = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
        lines += [
            "",
            f"**{workload}**: {'x'.join(map(str, shape))}, stride 2, kernel 4x4, float32, {tasks} chunks of "
            f"{'x'.join(map(str, chunks))}",
            "",
            "| | " + " | ".join(f"{n}" for n in ways["numpy"]) + " |",
            "|---|" + "---|" * len(ways["numpy"]),
        ]
        for way, times in ways.items():
            one = times[min(times)]
            cells = [f"{seconds * 1e3:.0f} ms ({one / seconds:.2f})" for seconds in times.values()]
            lines.append(f"| {WAYS[way]} | " + " | ".join(cells) + " |")
        first = {way: min(times.items())[1] for way, times in ways.items()}
        more = {way: (seconds - first["numpy"]) / tasks * 1e3 for way, seconds in first.items()}
        lines += [
            "",
            f"With one of each, a chunk takes {more['threads']:.1f} ms longer by a thread of dask than its",
            f"part of the one array, and {more['processes']:.1f} ms longer by a worker process.",
        ]
    lines += [
        "",
        "## Memory",
        "",
        f"A grey float32 image in Zarr, {SIDE}x{SIDE} chunks, not compressed, becomes one of twice the",
        f"height and width, kernel 8x8, on the threaded scheduler with {threads} threads. A chunk in the",
        "middle is compared with what NumPy makes of its neighbourhood, bit for bit. *Peak* is the most",
        "memory that the process ever had, *before* what it had when everything was imported and the image",
        "written.",
        "",
        "| image | result | pixels | seconds | MB/s read and written | before | peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for gigabytes, found in remembered.items():
        side = math.isqrt(round(gigabytes * 1e9 / 4))
        lines.append(
            f"| {gigabytes:g} GB | {4 * gigabytes:g} GB | {side}x{side} | {found['seconds']:.1f} | "
            f"{5e3 * gigabytes / found['seconds']:.0f} | {found['before']:.2f} GB | {found['peak']:.2f} GB |"
        )
    for gigabytes, found in without.items():
        side = math.isqrt(round(gigabytes * 1e9 / 4))
        lines += [
            "",
            f"An image of {gigabytes:g} GB, {side}x{side}, in {LARGE_SIDE}x{LARGE_SIDE} chunks that are made",
            f"instead of read, its result of {4 * gigabytes:g} GB thrown away instead of written:",
            f"peak {found['peak']:.2f} GB, {found['seconds']:.0f} s.",
        ]
    return "\n".join([*lines, ""])


def draw(scaled: dict[str, Any], remembered: dict[float, dict[str, float]], path: Path) -> None:
    """Draw both."""
    import matplotlib.pyplot as plt

    from benchmarks.plots import DPI, save

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), dpi=DPI, layout="constrained")
    colours = dict(zip(WAYS, ("0.55", "#D55E00", "#0072B2"), strict=True))
    for (workload, ways), style in zip(scaled.items(), ("-o", "--s"), strict=False):
        base = ways["numpy"][min(ways["numpy"])]
        for way, times in ways.items():
            label = f"{WAYS[way]}: {workload}"
            left.plot(list(times), [base / s for s in times.values()], style, color=colours[way], label=label)
    counts = list(next(iter(scaled.values()))["numpy"])
    left.plot(counts, counts, ":", color="black", linewidth=0.8)
    left.set_xticks(counts)
    left.set_xlabel("threads or worker processes")
    left.set_ylabel("times as fast as NumPy on one thread")
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize=7)
    sizes = list(remembered)
    right.plot(sizes, [found["peak"] for found in remembered.values()], "-o", color=colours["threads"])
    right.plot(sizes, [5 * size for size in sizes], ":", color="black", linewidth=0.8)
    right.annotate(
        "image and result", (sizes[0], 5 * sizes[0]), (8, -2), textcoords="offset points", va="top"
    )
    right.annotate(
        "peak memory",
        (sizes[-1], remembered[sizes[-1]]["peak"]),
        (0, 6),
        textcoords="offset points",
        ha="right",
    )
    right.axhline(BOUND, color="black", linewidth=0.8)
    right.annotate(f"{BOUND:g} GB", (sizes[-1], BOUND), (0, 3), textcoords="offset points", ha="right")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(sizes, [f"{size:g}" for size in sizes], minor=False)
    right.minorticks_off()
    right.yaxis.set_major_formatter("{x:g}")
    right.set_xlabel("image, GB")
    right.set_ylabel("GB")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save(figure, path)


def main() -> None:
    """Parse, measure, report."""
    every = len(processors()) or os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chunked", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--counts", nargs="+", type=int, metavar="N", help="threads, processes; default: 1, 2, 4"
    )
    parser.add_argument("--sizes", nargs="+", type=float, metavar="GB", default=SIZES, help="of the image")
    parser.add_argument(
        "--without-disk",
        nargs="*",
        type=float,
        metavar="GB",
        default=[40.0],
        help="images that are made chunk by chunk, results thrown away; default: 40, for some minutes",
    )
    parser.add_argument(
        "--scratch", type=Path, help="where the images are written; default: as tempfile does"
    )
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="default: %(default)s")
    options = parser.parse_args()
    counts = options.counts or sorted({min(n, every) for n in (1, 2, 4)})
    remembered = measure_memory(options.sizes, every, options.scratch)
    without = {
        gigabytes: ask("memory_without_disk", gigabytes=gigabytes, threads=every)
        for gigabytes in options.without_disk
    }
    scaled = measure_scaling(counts)
    options.output.mkdir(parents=True, exist_ok=True)
    page = report(scaled, remembered, without, every)
    (options.output / "dask.md").write_text(page)
    draw(scaled, remembered, options.output / "dask.png")
    print(page)
    most = max(found["peak"] for found in (*remembered.values(), *without.values()))
    sys.exit(f"{most:.2f} GB are more than {BOUND:g} GB" if most > BOUND else 0)


if __name__ == "__main__":
    main()
