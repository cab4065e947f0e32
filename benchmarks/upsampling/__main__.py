"""The command line: fit, score, write the report, the pictures and the models."""

import argparse
import shlex
import sys
from pathlib import Path

from benchmarks.upsampling import pictures, report
from benchmarks.upsampling.experiment import Fit, fit
from benchmarks.upsampling.optimisers import Way, compare
from benchmarks.upsampling.photographs import SPLITS

ABOUT = "Fit learned upsamplers to photographs and measure them on others."
FACTORS, MODELS = (2, 3, 4), ("linear", "fsrcnn")
QUICK_STEPS = 60
ROOT = Path(__file__).parents[2]
DOCS, SHIPPED = ROOT / "docs" / "upsampling", ROOT / "pyx_deconv" / "upsampling" / "models"


def main() -> None:
    """Parse, measure, report."""
    options = parse()
    folder, models = (DOCS, SHIPPED) if options.publish else (options.output, options.output)
    for each in (folder, models):
        each.mkdir(parents=True, exist_ok=True)
    fits: list[Fit] = []
    for first_held_out in SPLITS[:1] if options.quick else SPLITS:
        # How much depends on the split is seen at one factor.
        for factor in FACTORS if first_held_out == SPLITS[0] else FACTORS[:1]:
            for model in MODELS:
                steps = QUICK_STEPS if options.quick and model == "fsrcnn" else None
                found = fit(factor, model, first_held_out, steps)
                fits.append(found)
                print(
                    f"{model} x{factor}, without every third file from number {first_held_out + 1} on: "
                    f"{found.gain:+.2f} dB, {found.seconds:.1f} s, {found.upsampler.n_iter_} steps",
                    file=sys.stderr,
                    flush=True,
                )
                if first_held_out == SPLITS[0]:
                    found.upsampler.save(models / f"{model}-x{factor}.npz")
    drawn = pictures.write(fits, folder)
    write(fits, [], drawn, folder)
    if options.optimisers:
        write(fits, compare(SPLITS[0]), drawn, folder)
    print((folder / "results.md").read_text())


def write(fits: list[Fit], ways: list[Way], drawn: list[Path], folder: Path) -> None:
    """Write the report."""
    command = shlex.join(["python", "-m", "benchmarks.upsampling", *sys.argv[1:]])
    (folder / "results.md").write_text("\n".join(report.lines(fits, ways, command, drawn)) + "\n")


def parse() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks.upsampling", description=ABOUT)
    parser.add_argument("--quick", action="store_true", help="few steps, one split: about a minute")
    parser.add_argument(
        "--optimisers", action="store_true", help="also compare ways to minimise: minutes more"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, default=Path("upsampling-output"), help="folder to write to")
    where.add_argument(
        "--publish",
        action="store_true",
        help=f"write to {DOCS.relative_to(ROOT)} and {SHIPPED.relative_to(ROOT)}",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
