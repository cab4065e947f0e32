"""The command line: ``pyx-deconv demo``, ``explain`` and ``info``; ``python -m pyx_deconv`` is the same."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pyx_deconv as pxd
from pyx_deconv import demo
from pyx_deconv.explanation import _command as explaining

EXAMPLES = """\
examples:
  pyx-deconv demo                                      enlarge the sample photograph into ./demo-output
  pyx-deconv demo --photo cat.jpg --output pictures    enlarge a photograph of yours
  pyx-deconv explain                                   the classic example by four views, as explain.html
  pyx-deconv explain --help                            other numbers and sizes, and pictures of them
  pyx-deconv info                                      what to put into a bug report

exit codes: 0 done, 1 a check failed or memory ran out, 2 something in the call must change, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage in front of them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pyx-deconv",
        description="The transposed convolution for NumPy, shown on numbers and on a photograph.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyx_deconv {pxd.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="{demo,explain,info}", required=True)
    show = commands.add_parser(
        "demo",
        help="the classic examples by numbers, a photograph enlarged, its gradients checked",
        description="Computes the classic examples, answers the one that is often copied wrong, enlarges a "
        "colour photograph x2 and x3 by a depthwise transposed convolution and checks the gradients on it.",
        epilog="example: pyx-deconv demo --photo cat.jpg --output pictures",
    )
    show.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="DIR",
        help="the folder for the pictures, made if it is missing (default: ./demo-output)",
    )  # fmt: skip
    show.add_argument(
        "--photo", type=Path, metavar="FILE", help="a photograph of yours instead of scikit-image's cat"
    )
    show.add_argument("--quiet", action="store_true", help="print only the names of the files and errors")
    explaining.add_parser(commands)
    commands.add_parser("info", help="version, instruction set, threads and OpenMP, for a bug report")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default what the shell passed.

    Returns
    -------
    int
        The exit code: 0 done, 1 a check failed or memory ran out, 2 something in the call must change, 130
        interrupted.

    Raises
    ------
    SystemExit
        After --help and --version, and if the arguments are not understood.
    """
    options = _parser().parse_args(arguments)
    try:
        code = 0
        if options.command == "info":
            pxd.show_config()
        elif options.command == "explain":
            code = explaining.run(options)
        else:
            code = demo.run(options.output, options.photo, options.quiet)
        sys.stdout.flush()
    except (demo.DemoError, explaining.CommandError) as error:
        print(f"pyx-deconv: error: {error}", file=sys.stderr)
        code = 2
    except MemoryError as error:
        print(f"pyx-deconv: error: {str(error) or 'not enough memory'}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("pyx-deconv: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader, such as head, has gone; Python must not fail a second time when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
