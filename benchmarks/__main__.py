"""The command line: measure what is not measured yet, then write the report."""

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path

from tqdm import tqdm

from benchmarks import plots, report
from benchmarks.analysis import tables
from benchmarks.drawn import drawn_layers
from benchmarks.layers import FAMILIES, OPERATIONS, Case, load_layers
from benchmarks.libraries import LIBRARIES, OWN
from benchmarks.measure import Effort, measure
from benchmarks.problem import NO_WEIGHT
from benchmarks.processes import Pool, processors
from benchmarks.store import Store, machine_name

ABOUT = "Measure what is not measured yet, then write the report: pyx_deconv and the frameworks found here."

QUICK = Effort(rounds=3, sample_s=0.004)
FULL = Effort(rounds=11, sample_s=0.02)


def main() -> None:
    """Parse, measure, report."""
    options = parse()
    title = "-quick" * options.quick + f"-drawn-{options.drawn}" * (options.drawn is not None)
    store = Store(options.output / f"{machine_name()}{title}.jsonl")
    failures = [] if options.report_only else run(options, store)
    if failures:
        print("pyx_deconv itself failed, which is not stored:", *failures, sep="\n  ", file=sys.stderr)
    stem = options.publish / f"results{title}" if options.publish else store.path.with_suffix("")
    stem.parent.mkdir(parents=True, exist_ok=True)
    found = tables(store, [layer.name for layer in options.all_layers])
    pictures = plots.write(found, stem)
    written = report.write(store, found, stem.with_name(stem.name + ".md"), pictures)
    print(written.read_text())
    print("Written:", written, *chain(*pictures.values()), sep="\n  ")
    sys.exit(bool(failures))


def run(options: argparse.Namespace, store: Store) -> list[str]:
    """Measure what is asked for and not stored with the same versions; return where pyx_deconv failed."""
    failures = []
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = Effort(options.rounds, effort.sample_s)
    everything = list(cases(options))
    with tqdm(total=len(everything), unit="case", dynamic_ncols=True) as bar:

        def progress(text: str) -> None:
            bar.set_postfix_str(text, refresh=sys.stderr.isatty())  # in a log one line per case is enough

        for (threads, memory), group in groupby(everything, key=lambda case: (case.threads, case.memory)):
            bar.set_description(f"threads {threads}, {memory} memory: starting the libraries")
            with Pool(options.libraries, threads, memory == "reused", store.path.parent / "logs") as pool:
                for library, reason in pool.missing.items():
                    tqdm.write(f"{library} is left out: {reason}", file=sys.stderr)
                for case in group:
                    name = f"{case.layer.name} {case.operation}"
                    bar.set_description(f"threads {threads}, {memory} memory: {name}")
                    if options.fresh or not store.has(case, pool.versions, effort.rounds):
                        record = measure(case, pool, effort, progress)
                        reasons = [
                            f"{name}, {key}: {why}"
                            for key, why in record["skipped"].items()
                            if OWN in key and why != NO_WEIGHT
                        ]
                        failures += reasons
                        if not reasons:
                            store.add(record)
                    bar.update()
    return failures


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Yield what is asked for, grouped by what needs processes of its own."""
    layers = [
        layer
        for layer in options.all_layers
        if re.search(options.layers, layer.name)
        and layer.family in options.families
        and (layer.quick or not options.quick or options.drawn is not None)
    ]
    for threads in options.threads:
        for memory in options.memory:
            for layer in layers:
                for operation in options.operations:
                    yield Case(layer, operation, threads, memory)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=ABOUT)
    parser.add_argument("--quick", action="store_true", help="a few layers on one thread, in about a minute")
    parser.add_argument("--fresh", action="store_true", help="measure again what is stored")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="default: %(default)s")
    parser.add_argument(
        "--publish", type=Path, metavar="FOLDER", help="write the report and its plots there, as results.*"
    )
    parser.add_argument("--layers", default="", metavar="REGEX", help="only layers whose name matches")
    parser.add_argument(
        "--drawn",
        type=int,
        metavar="SEED",
        help="layers drawn at random instead of the listed ones, into a report of their own",
    )
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--libraries", nargs="+", choices=tuple(LIBRARIES), default=tuple(LIBRARIES))
    parser.add_argument(
        "--threads", nargs="+", type=int, metavar="N", help="default: 1, 2, 4 and all processors"
    )
    parser.add_argument(
        "--memory",
        nargs="+",
        choices=("fresh", "reused"),
        help="the default allocator, and outputs and freed blocks used again; default: both",
    )
    parser.add_argument("--rounds", type=int, help="samples per library and case")
    options = parser.parse_args()
    options.all_layers = load_layers() if options.drawn is None else drawn_layers(options.drawn)
    every = len(processors()) or 1
    options.threads = options.threads or (
        [1] if options.quick else sorted({min(n, every) for n in (1, 2, 4, every)})
    )
    options.memory = options.memory or (["fresh"] if options.quick else ["fresh", "reused"])
    if OWN not in options.libraries:
        parser.error(f"--libraries needs {OWN}: it is what the others are compared with")
    return options


if __name__ == "__main__":
    main()
