"""What ``pyx-deconv demo`` does: the classic examples, a photograph enlarged, and its gradients checked."""

import sys
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv._demo_numbers import classic_examples, copied_example, size_text, table
from pyx_deconv._demo_photograph import (
    EYE,
    DemoError,
    adjoint_errors,
    comparison,
    load,
    make_folder,
    resized_by_pillow,
    save,
    to_bytes,
)
from pyx_deconv.upsampling.interpolation import Enlargement

__all__ = ["DemoError", "run"]

TOLERANCE = 1e-12  # of the adjoint identity, in float64
FROM_PILLOW = 0.01  # of 255: far above the rounding of float32, far below what an eye sees
ENLARGEMENTS = [(method, factor) for factor in (2, 3) for method in ("bilinear", "bicubic")]


def run(output: Path, photo_file: Path | None = None, quiet: bool = False) -> int:
    """Run the demo.

    Parameters
    ----------
    output : Path
        The folder for the pictures, made if it is missing. Files of an earlier demo are replaced.
    photo_file : Path, optional
        A colour photograph, by default the cat that comes with scikit-image.
    quiet : bool, default: False
        Print only the names of the files.

    Returns
    -------
    int
        0, or 1 if the pictures or the gradients are wrong.

    Raises
    ------
    DemoError
        If a package is missing, the photograph cannot be read or a picture cannot be written.
    """
    start = time.perf_counter()
    _require("PIL", "tqdm", *(["skimage"] if photo_file is None else []))
    photo, name = load(photo_file)
    make_folder(output)
    files = [output / "photograph.png"]
    save(photo, files[0])

    def say(*lines: str) -> None:
        if not quiet:
            print(*lines, sep="\n", flush=True)

    instructions = f"instruction set {kernels.instruction_set}"
    threads = pxd.get_num_threads()
    say(f"pyx_deconv {pxd.__version__} on {threads} thread{'s' * (threads > 1)}, {instructions}", "")
    say(*classic_examples(), "")
    say(*copied_example(), "")

    say(f"3. {name}, {size_text(photo.shape)}, enlarged by a depthwise transposed convolution in float32", "")
    files += [output / f"{method}-x{factor}.png" for method, factor in ENLARGEMENTS]
    rows, distances = zip(*_enlarge(photo, files[1:], quiet), strict=True)
    say(
        *table("<>>>>>", [["kernel", "taps", "stride", "result", "time", "distance"], *rows]),
        "",
        "  distance: the largest from Pillow's own resize, of values from 0 to 255, away from the borders.",
        "  Beyond its borders the picture goes on as its mirror image, so that it does not darken there.",
        "",
    )

    say(f"4. The gradients on this photograph, in float64, with a random g (right up to {TOLERANCE:.0e})", "")
    rows, errors = zip(*_check_gradients(photo, quiet), strict=True)
    head = ["kernel", "stride", "<y, g>", "relative error of <x, grad_x>", "of <weight, grad_weight>"]
    say(*table("<>>>>", [head, *rows]), "")

    files.append(output / "comparison.png")
    centre = EYE if photo_file is None else (photo.shape[0] // 2, photo.shape[1] // 2)
    save(comparison(photo, centre), files[-1])
    say(f"5. The pictures, in {output.resolve()}", "")
    say(*table("<>", [[file, f"{file.stat().st_size / 1e3:.0f} kB"] for file in files]), "")
    if quiet:
        print(*files, sep="\n")
    # Written so that NaN is wrong too.
    if not all(distance <= FROM_PILLOW for distance in distances):
        print(f"The pictures are wrong: more than {FROM_PILLOW} from Pillow's resize.", file=sys.stderr)
        return 1
    if not all(error <= TOLERANCE for error in errors):
        print(f"The gradients are wrong: a relative error is above {TOLERANCE:.0e}.", file=sys.stderr)
        return 1
    say(f"Done in {time.perf_counter() - start:.1f} s. Look at {files[-1]} first.")
    return 0


def _enlarge(
    photo: NDArray[np.uint8], files: list[Path], quiet: bool
) -> Iterator[tuple[list[object], float]]:
    """Write every enlargement; yield its row of the table and its largest distance from Pillow's resize."""
    for file, (method, factor) in zip(files, _progress(ENLARGEMENTS, "enlarging", quiet), strict=True):
        enlargement = Enlargement.of(photo.astype(np.float32), method, factor)
        start = time.perf_counter()
        large = enlargement()
        milliseconds = (time.perf_counter() - start) * 1e3
        save(to_bytes(large), file)
        border = 2 * factor
        inner = np.abs(large - resized_by_pillow(photo, factor, method))[border:-border, border:-border]
        distance = float(inner.max(initial=0))
        taps, size = size_text(enlargement.weight.shape[2:]), size_text(large.shape)
        yield [method, taps, factor, size, f"{milliseconds:.1f} ms", f"{distance:.1e}"], distance


def _check_gradients(photo: NDArray[np.uint8], quiet: bool) -> Iterator[tuple[list[object], float]]:
    """Yield for every enlargement its row of the table and its larger error."""
    for method, factor in _progress(ENLARGEMENTS, "checking gradients", quiet):
        product, *errors = adjoint_errors(Enlargement.of(photo.astype(np.float64), method, factor))
        shown = [f"{error:.1e}" for error in errors]
        yield [method, factor, f"{product:.9e}", *shown], float(np.max(errors))


def _require(*modules: str) -> None:
    names = {"PIL": "pillow", "skimage": "scikit-image"}
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise DemoError(
                f'the demo needs {names.get(module, module)}: pip install "pyx_deconv[demo]"'
            ) from error


def _progress(work: list[Any], title: str, quiet: bool) -> Iterable[Any]:
    """Show a bar, on a terminal only, that vanishes at the end."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(work, title, leave=False, disable=True if quiet else None, unit=" pictures")
    return bar
