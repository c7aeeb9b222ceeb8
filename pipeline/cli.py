"""The command line: `vitpipe COMMAND ...`; each command is a module of `pipeline.commands`."""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from components.errors import VitpipeError, told
from pipeline import commands

EXIT_CODES = """exit codes:
  0  pushed, or already pushed; for other commands: done
  1  anything that is not named below
  2  bad usage, or data refused by preparation or the validation gate
  3  model refused by the Evaluator or the serving check"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="vitpipe",
        description="Vision Transformers from image files to a served model, with TFX.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in sorted(module.name for module in pkgutil.iter_modules(commands.__path__)):
        module = importlib.import_module(f"pipeline.commands.{name}")
        subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    args = build_parser().parse_args(arguments)
    args.command_line = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except VitpipeError as error:
        print(f"vitpipe: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has left, as `head` does. Whatever is still to be written
        # goes nowhere, or Python would complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"vitpipe: error: {told(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vitpipe: interrupted", file=sys.stderr)
        return 1


def entry() -> NoReturn:
    """The program: runs `main` and leaves at once.

    TensorFlow's and Beam's threads can crash the interpreter on its way out, after all work
    is done and written, and with it the exit code.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    entry()
