"""``pyx-deconv fit``: fit an upsampling model to photographs, and measure it on others."""

import argparse
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _images as images
from pyx_deconv.command._common import CommandError, add_json, new_parser, note, print_json, require
from pyx_deconv.command._inputs import walk

__all__ = ["add_parser", "run"]

EXAMPLES = """\
examples:
  pyx-deconv fit photos/*.jpg -o model.npz
  pyx-deconv fit photos/ --factor 3 --model fsrcnn --hold-out 0.2 -o model.npz
  pyx-deconv upsample cat.jpg large.png --model model.npz

Every photograph is made smaller, and the model learns to find it again. Ctrl-C ends the fit after the step
that it is at and writes what was learned until then; the exit code is 130 then.
"""


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = new_parser(
        commands,
        "fit",
        help="fit an upsampling model to photographs",
        description="Fits a model to photographs, for pyx-deconv upsample --model or LearnedUpsampler.load.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "input", type=Path, nargs="+", metavar="INPUT", help="photographs and folders of them"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz", help="what to write")
    parser.add_argument("--factor", type=int, default=2, metavar="N", help="the enlargement (default: 2)")
    parser.add_argument(
        "--model", choices=["linear", "fsrcnn"], default="linear",
        help="one kernel, in seconds, or a small network, in minutes (default: linear)",
    )  # fmt: skip
    parser.add_argument("--max-iter", type=int, metavar="N", help="the largest number of steps")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: 0)")
    parser.add_argument(
        "--hold-out", type=float, default=0.0, metavar="SHARE",
        help="keep this share of the files, such as 0.2, to compare with bicubic interpolation on them",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Fit and write the model; return 0, or 130 if it was interrupted and then written."""
    from pyx_deconv.upsampling import LearnedUpsampler

    require("images", "PIL", "tqdm")
    from tqdm import tqdm

    output: Path = options.output
    if output.suffix != ".npz":
        raise CommandError(f"-o must name a file that ends in .npz, not {output}")
    if not options.force and output.exists():
        raise CommandError(f"{output} is there already; --force replaces it")
    if not output.absolute().parent.is_dir():
        raise CommandError(f"cannot write {output}: there is no folder {output.parent}")
    if not 0 <= options.hold_out < 1:
        raise CommandError(f"--hold-out must be at least 0 and less than 1, not {options.hold_out}")
    with images.settings(allow_large=False):
        names, photos, skipped = _photographs(options.input)
    order = np.random.default_rng(options.seed).permutation(len(photos))
    count = int(np.ceil(options.hold_out * len(photos)))
    held, used = sorted(order[:count]), sorted(order[count:])
    if not used:
        raise CommandError(f"of {len(photos)} photographs {count} are held out: none is left to fit to")

    model = LearnedUpsampler(options.factor, model=options.model, seed=options.seed)
    photographs = [photos[at] for at in used]
    start = time.perf_counter()
    with _until_interrupted() as interrupted, tqdm(unit="step", disable=None, leave=False) as bar:

        def after_step(_number: int, loss: float, _model: LearnedUpsampler) -> None:
            bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            bar.update()
            if interrupted:
                raise StopIteration

        try:
            model.fit(photographs, max_iter=options.max_iter, callback=after_step, progress=False)
        except (ImportError, TypeError, ValueError) as error:
            raise CommandError(_with_names(str(error), [names[at] for at in used])) from error
    seconds = time.perf_counter() - start
    gains = [_gain(model, names[at], photos[at]) for at in held]
    try:
        model.save(output)
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror or error}") from error
    result = {
        "output": str(output),
        "interrupted": bool(interrupted),
        "files": [str(names[at]) for at in used],
        "skipped": skipped,
        "steps": model.n_iter_,
        "loss": model.loss_,
        "seconds": round(seconds, 3),
        "held_out": gains,
    }
    if options.json:
        print_json(result)
    else:
        _print(result, output)
    return 130 if interrupted else 0


def _photographs(inputs: Sequence[Path]) -> tuple[list[Path], list[NDArray[Any]], list[dict[str, str]]]:
    """Return the names and pixels of photographs, and what was left out and why."""
    names, photos, skipped = [], [], []
    for path, _ in walk(inputs):
        try:
            with images.reading(path) as pictures:
                picture = pictures[0]
                if picture.colours == 4:
                    raise images.ImageError(f"{path} is CMYK: a model learns from grey and RGB")
                pixels = picture.pixels[slice(None), slice(None)]
        except images.ImageError as error:
            skipped.append({"input": str(path), "error": str(error)})
            note(f"skipped: {error}")
        else:
            names.append(path)
            photos.append(pixels)
    if not photos:
        raise CommandError(f"there are no photographs in {', '.join(map(str, inputs))}")
    return names, photos, skipped


def _gain(model: Any, name: Path, photo: NDArray[Any]) -> dict[str, Any]:
    """Return the scores of the model and of bicubic interpolation on a photograph."""
    from pyx_deconv.upsampling import score

    try:
        learned, bicubic = model.score(photo), score(photo, model.factor, "bicubic")
    except ValueError as error:
        raise CommandError(f"{name} cannot be held out: {error}") from error
    return {
        "file": str(name),
        "psnr": learned.psnr,
        "ssim": learned.ssim,
        "bicubic_psnr": bicubic.psnr,
        "bicubic_ssim": bicubic.ssim,
    }


def _print(result: dict[str, Any], output: Path) -> None:
    files, steps = len(result["files"]), result["steps"]
    counts = f"{files} photograph{'s' * (files != 1)}, {steps} step{'s' * (steps != 1)}"
    end = ", interrupted" if result["interrupted"] else ""
    print(f"{output}: {counts}, loss {result['loss']:.4g}, {result['seconds']:.1f} s{end}")
    for row in result["held_out"]:
        gain = row["psnr"] - row["bicubic_psnr"]
        print(f"  {row['file']}: {row['psnr']:.2f} dB, {gain:+.2f} dB from bicubic; SSIM {row['ssim']:.4f}")
    if result["held_out"]:
        mean = np.mean([row["psnr"] - row["bicubic_psnr"] for row in result["held_out"]])
        print(f"held out, not fitted to: {mean:+.2f} dB from bicubic on average")


def _with_names(message: str, names: Sequence[Path]) -> str:
    """Name the file where an error counts images."""
    return re.sub(r"images\[(\d+)\]", lambda found: str(names[int(found[1])]), message)


@contextmanager
def _until_interrupted() -> Iterator[list[bool]]:
    """Give a list that Ctrl-C puts an entry into; a second Ctrl-C ends the program as always."""
    interrupted: list[bool] = []

    def handle(*_: object) -> None:
        interrupted.append(True)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
