"""The command line: ``pyx-deconv`` and its commands; ``python -m pyx_deconv`` is the same."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import pyx_deconv as pxd
from pyx_deconv.command import bench, demo, explain, fit, info, solve, upsample
from pyx_deconv.command._common import CommandError

COMMANDS = {
    "demo": demo,
    "upsample": upsample,
    "fit": fit,
    "explain": explain,
    "solve": solve,
    "bench": bench,
    "info": info,
}

EXAMPLES = """\
examples:
  pyx-deconv demo                                      enlarge the sample photograph into ./demo-output
  pyx-deconv demo --photo cat.jpg --output pictures    enlarge a photograph of yours
  pyx-deconv upsample cat.jpg large.png --factor 2     enlarge it with a network
  pyx-deconv fit photos/ -o model.npz                  fit a model to photographs of yours
  pyx-deconv explain                                   the classic example by four views, as explain.html
  pyx-deconv solve 4 12                                which settings take 4 to 12
  pyx-deconv bench --quick                             how fast this machine is
  pyx-deconv info                                      what to put into a bug report
  pyx-deconv COMMAND --help                            the options of a command, and examples of it

exit codes: 0 done, 1 a check or a part failed or memory ran out, 2 something in the call must change,
130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage in front of them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pyx-deconv",
        description="The transposed convolution for NumPy, shown on numbers and at work on images.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyx_deconv {pxd.__version__}")
    names = f"{{{','.join(COMMANDS)}}}"
    commands = parser.add_subparsers(dest="command", metavar=names, required=True)
    for command in COMMANDS.values():
        command.add_parser(commands)
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
        The exit code: 0 done, 1 a check or a part failed or memory ran out, 2 something in the call must
        change, 130 interrupted.

    Raises
    ------
    SystemExit
        After --help and --version, and if the arguments are not understood.
    """
    options = _parser().parse_args(arguments)
    try:
        code = int(COMMANDS[options.command].run(options))
        sys.stdout.flush()
    except CommandError as error:
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
