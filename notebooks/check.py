"""Run lessons from the first cell to the last, and compare with what is committed.

``python check.py [lesson ...]`` fails where a cell raises or writes to stderr, where a
committed output is stale, and where a folded solution is not graded right. ``--write``
puts the fresh outputs into the files instead of comparing.

What is compared: the words of every printed text, and its numbers to one unit of their
last digit. Of pictures, sounds and pages only that they are there, since their bytes
depend on fonts and versions; the same for all outputs of cells with the tag "timing".

Metadata of cells: ``solution`` names the exercise that the folded block solves, as in
"lesson_01.cell"; ``misconception`` is the number of one that the cell refutes.
"""

import argparse
import re
import sys
import time
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

HERE = Path(__file__).parent
MISCONCEPTIONS = 12
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")
SOLUTION = re.compile(r"```python\n(.*?)```", re.DOTALL)


def same_text(old: str, new: str) -> bool:
    """Whether words agree, and numbers to one unit of the last digit that both print.

    >>> same_text("loss 0.123 after 7 steps", "loss 0.124 after 7 steps")
    True
    >>> same_text("loss 0.123 after 7 steps", "loss 0.125 after 7 steps")
    False
    >>> same_text("loss 0.123 after 7 steps", "loss 0.123 after 8 steps")
    False
    >>> same_text("[1. 2.]", "[1. 3.]")
    False
    """
    if " ".join(NUMBER.sub("#", old).split()) != " ".join(NUMBER.sub("#", new).split()):
        return False
    return all(map(same_number, NUMBER.findall(old), NUMBER.findall(new)))


def same_number(old: str, new: str) -> bool:
    """Whether two numbers agree; if they have decimals, to one unit of the last.

    >>> same_number("1.0e-3", "1.1e-3"), same_number("1.0e-3", "1.0e-2")
    (True, False)
    """
    if old == new:
        return True
    mantissa, _, exponent = old.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals) if decimals else 0.0
    return abs(float(old) - float(new)) <= 1.01 * unit


def shown(cell: NotebookNode) -> list[tuple[str, str]]:
    """Return the outputs of a cell as (kind, text), pieces of one stream joined."""
    found: list[tuple[str, str]] = []
    for output in cell.outputs:
        if output.output_type == "stream":
            if found and found[-1][0] == output.name:
                found[-1] = (output.name, found[-1][1] + output.text)
            else:
                found.append((output.name, output.text))
        else:
            rich = sorted(kind for kind in output.data if kind != "text/plain")
            found.append(
                (" ".join(rich) or "text", "" if rich else output.data["text/plain"])
            )
    return found


def problems(cell: NotebookNode, committed: NotebookNode) -> list[str]:
    """Return what is wrong with the outputs of a cell."""
    found = []
    timing = "timing" in cell.metadata.get("tags", ())
    for old, new in zip_longest(shown(committed), shown(cell), fillvalue=("nothing", "")):
        if new[0] == "stderr":
            found.append(f"wrote to stderr: {new[1]}")
        elif old[0] != new[0]:
            found.append(f"shows {new[0]}, committed is {old[0]}")
        elif not timing and not same_text(old[1], new[1]):
            found.append(f"is stale; committed:\n{old[1]}\nnow:\n{new[1]}")
    return found


def graded_solutions(notebook: NotebookNode) -> list[NotebookNode]:
    """Return cells that grade the folded solutions in place of the reader's attempts."""
    cells = []
    for cell in notebook.cells:
        exercise = cell.metadata.get("solution")
        if exercise is not None:
            blocks = SOLUTION.findall(cell.source)
            name = re.findall(r"^def (\w+)", blocks[-1], re.MULTILINE)[-1]
            source = f"{blocks[-1]}\nassert {exercise}.grade({name})"
            cells.append(nbformat.v4.new_code_cell(source, id=f"solution-{len(cells)}"))
    return cells


def check(path: Path, write: bool) -> list[str]:
    """Run a lesson; return what is wrong with it."""
    committed = nbformat.read(path, as_version=4)
    notebook = nbformat.from_dict(committed)
    count = len(notebook.cells)
    notebook.cells.extend(graded_solutions(committed))
    client = NotebookClient(
        notebook, timeout=600, record_timing=False, resources={"metadata": {"path": HERE}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return [str(error)]
    found = []
    for cell, before in zip(notebook.cells[:count], committed.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
            against = cell if write else before
            found.extend(
                f"cell {cell.id} {problem}" for problem in problems(cell, against)
            )
    if write:
        committed.cells = notebook.cells[:count]
        nbformat.write(committed, path)
    return found


def unrefuted(paths: list[Path]) -> list[str]:
    """Return the misconceptions that no cell of these lessons refutes by an assert."""
    refuted = {
        cell.metadata.get("misconception")
        for path in paths
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and "assert" in cell.source
    }
    return [
        f"misconception {n} is refuted nowhere"
        for n in range(1, MISCONCEPTIONS + 1)
        if n not in refuted
    ]


def main() -> int:
    """Check the lessons named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("lessons", nargs="*", type=Path, help="default: all")
    parser.add_argument("--write", action="store_true", help="keep the fresh outputs")
    options = parser.parse_args()
    paths = options.lessons or sorted(HERE.glob("[0-9]*.ipynb"))
    failed = False
    for path in paths:
        start = time.perf_counter()
        found = check(path, options.write)
        failed |= bool(found)
        passed = "written" if options.write else "as committed"
        verdict = "failed" if found else passed
        print(f"{path.name}: {verdict}, {time.perf_counter() - start:.0f} s", flush=True)
        print(*found, sep="\n", end="\n" if found else "")
    if not options.lessons:
        found = unrefuted(paths)
        failed |= bool(found)
        print(*found, sep="\n", end="\n" if found else "")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
