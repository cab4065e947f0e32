"""``pyx-deconv upsample``: enlarge image files, folders of them, and arrays larger than memory."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from numpy.typing import NDArray

import pyx_deconv as pxd
from pyx_deconv import _images as images
from pyx_deconv.command._common import CommandError, add_json, new_parser, note, print_json, require
from pyx_deconv.command._inputs import is_folder, walk
from pyx_deconv.upsampling.interpolation import INTERPOLATIONS, REACH

__all__ = ["add_parser", "run"]

EXAMPLES = """\
examples:
  pyx-deconv upsample cat.jpg cat-x2.png
  pyx-deconv upsample scan.tif large.tif --factor 4 --model bicubic
  pyx-deconv upsample photos/ enlarged/ --jobs 4           with all folders in it, under the same names
  pyx-deconv upsample *.jpg enlarged/ --model mine.npz     mine.npz is what pyx-deconv fit wrote
  pyx-deconv upsample survey.zarr large.zarr --model bilinear

What is kept: 8 and 16 bits, floats, alpha, colour profile, EXIF, XMP, pixels per inch, pages of a
TIFF, frames of an animation. Pixels are turned as the orientation in the file says; palettes
become RGB. What the format of the output cannot hold is refused.

Memory: pictures are computed tile by tile. TIFF and Zarr are read and written in pieces as well
and may be of any size, unless a TIFF is one compressed strip. Of other formats the whole picture
is in memory before and after: for 8-bit RGB about 7 * (1 + factor**2) bytes for each pixel of the
input, 840 MB for 24 megapixels x2.

exit code 1: some files of several could not be enlarged; the others are done
"""
LEARNED = ("linear", "fsrcnn")
KNOWN = ", ".join((*LEARNED, *INTERPOLATIONS))


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = new_parser(
        commands,
        "upsample",
        help="enlarge images: files, folders, arrays larger than memory",
        description="Enlarges images by an integer factor, with a model learned from photographs or a fixed "
        "kernel.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "input", type=Path, nargs="+", metavar="INPUT", help="image files, folders, Zarr arrays"
    )
    parser.add_argument(
        "output", type=Path, metavar="OUTPUT",
        help="the file to write; for folders and several files, the folder, made if it is missing",
    )  # fmt: skip
    parser.add_argument(
        "--factor", type=int, metavar="N",
        help="how many times as high and wide (default: that of the model's file, else 2)",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="fsrcnn", metavar="MODEL",
        help=f"{KNOWN}, or an .npz file from pyx-deconv fit (default: fsrcnn)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N",
        help="how many files at once; they share the threads (default: 1, with all threads)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument("--allow-large", action="store_true", help="read images of more than 178 megapixels")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Enlarge; return 0, or 1 if some files of several could not be."""
    require("images", "PIL", "tqdm")
    if options.jobs < 1:
        raise CommandError(f"--jobs must be 1 or more, not {options.jobs}")
    sources, output = options.input, options.output
    upsampler = _upsampler(options.model, options.factor)
    with images.settings(options.allow_large):
        if len(sources) == 1 and not is_folder(sources[0]) and not is_folder(output):
            return _run_one(sources[0], output, upsampler, options)
        return _run_many(sources, output, upsampler, options)


def _upsampler(model: str, factor: int | None) -> images.Upsampler:
    from pyx_deconv.upsampling import LearnedUpsampler, interpolate

    if factor is not None and factor < 1:
        raise CommandError(f"--factor must be 1 or more, not {factor}")
    if model in INTERPOLATIONS:
        fixed = partial(interpolate, factor=factor or 2, method=model, padded=True)
        return images.Upsampler(factor or 2, REACH[model], fixed, base=fixed, learned=False)
    try:
        if model in LEARNED:
            learned = LearnedUpsampler.pretrained(factor or 2, model)
        elif model.endswith(".npz"):
            learned = LearnedUpsampler.load(model)
        else:
            raise CommandError(f"--model must be one of {KNOWN}, or a file that ends in .npz, not {model!r}")
    except OSError as error:
        raise CommandError(f"cannot read {model}: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandError(f"{error} ({', '.join(INTERPOLATIONS)} take any factor)") from error
    if factor not in (None, learned.factor):
        raise CommandError(f"--factor {factor}: {model} enlarges by {learned.factor}")
    spare = learned.reach_ - REACH["bicubic"]

    def bicubic(tile: NDArray[Any]) -> NDArray[Any]:
        height, width = tile.shape[:2]
        inner = tile[spare : height - spare, spare : width - spare]
        return interpolate(inner, learned.factor, "bicubic", padded=True)

    padded = learned.transform_padded
    return images.Upsampler(learned.factor, learned.reach_, padded, base=bicubic, learned=True)


def _enlarge(
    source: Path,
    target: Path,
    upsampler: images.Upsampler,
    force: bool,
    watch: Callable[[int], Callable[[], object]],
) -> dict[str, Any]:
    """Enlarge one file. ``watch`` is told the number of tiles and returns what is called after each."""
    start = time.perf_counter()
    if not force and target.exists():
        raise images.ImageError(f"{target} is there already; --force replaces it")
    with images.reading(source) as pictures:
        pixels = [images.Enlarged(picture, upsampler) for picture in pictures]
        large = [replace(picture, pixels=each) for picture, each in zip(pictures, pixels, strict=True)]
        images.check(target, large)
        step = watch(sum(map(len, pixels)))
        for each in pixels:
            each.step = step
        images.write(target, large)
    height, width = pixels[0].shape[:2]
    return {
        "input": str(source), "output": str(target), "width": width, "height": height, "pictures": len(large),
        "seconds": round(time.perf_counter() - start, 3),
    }  # fmt: skip


def _run_one(source: Path, target: Path, upsampler: images.Upsampler, options: argparse.Namespace) -> int:
    from tqdm import tqdm

    with tqdm(desc=source.name, unit="tile", disable=None, leave=False) as bar:

        def watch(tiles: int) -> Callable[[], object]:
            bar.reset(tiles)
            return lambda: bar.update()

        try:
            written = _enlarge(source, target, upsampler, options.force, watch)
        except images.ImageError as error:
            raise CommandError(str(error)) from error
    if options.json:
        print_json({"written": [written], "skipped": [], "failed": []})
    else:
        print(f"{target}, {written['width']}x{written['height']}, {written['seconds']:.1f} s")
    return 0


@dataclass
class _Outcome:
    """What became of several files."""

    written: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


def _run_many(
    sources: Sequence[Path], output: Path, upsampler: images.Upsampler, options: argparse.Namespace
) -> int:
    pairs = [(source, output / place) for source, place in walk(sources, without=output)]
    if not pairs:
        raise CommandError(f"there are no files in {', '.join(map(str, sources))}")
    same = [target for target, count in Counter(target for _, target in pairs).items() if count > 1]
    if same:
        raise CommandError(f"several files would become {same[0]}: enlarge their folders apart")
    outcome = _Outcome()
    for source, future in _in_turn(pairs, upsampler, options):
        try:
            outcome.written.append(future.result())
        except images.NoImage:
            outcome.skipped.append({"input": str(source)})
        except (images.ImageError, MemoryError) as error:
            reason = str(error) or f"not enough memory for {source}"
            outcome.failed.append({"input": str(source), "error": reason})
    for rows in (outcome.written, outcome.skipped, outcome.failed):
        rows.sort(key=lambda row: str(row["input"]))
    if options.json:
        print_json(vars(outcome))
    else:
        for row in outcome.skipped:
            note(f"skipped {row['input']}: no image")
        for row in outcome.failed:
            note(f"error: {row['error']}")
        counts = f"{len(outcome.skipped)} skipped, {len(outcome.failed)} failed"
        print(f"{len(outcome.written)} enlarged into {output}, {counts}")
    return 1 if outcome.failed else 0


def _in_turn(
    pairs: Sequence[tuple[Path, Path]], upsampler: images.Upsampler, options: argparse.Namespace
) -> Iterator[tuple[Path, Future[dict[str, Any]]]]:
    """Enlarge files in ``options.jobs`` threads, and yield each when it is done."""
    from tqdm import tqdm

    threads = max(1, pxd.get_num_threads() // options.jobs)
    stopped = Event()

    def step() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    def work(source: Path, target: Path) -> dict[str, Any]:
        with pxd.num_threads(threads):  # a thread begins without what was set in another
            target.parent.mkdir(parents=True, exist_ok=True)
            return _enlarge(source, target, upsampler, options.force, lambda _: step)

    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(work, source, target): source for source, target in pairs}
        try:
            for future in tqdm(
                as_completed(futures), total=len(futures), unit="file", disable=None, leave=False
            ):
                yield futures[future], future
        except BaseException:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
