"""`vitpipe rollback`: serve an earlier version again."""

import argparse

from components.errors import UsageError
from pipeline.arguments import add_push_to, add_workdir

HELP = "make an earlier pushed version the newest one again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    add_workdir(parser)
    add_push_to(parser)
    parser.add_argument("--model", default="vit", help="model name (default: %(default)s)")
    parser.add_argument("--to", type=int, required=True, metavar="VERSION", help="version to serve")


def run(args: argparse.Namespace) -> int:
    """Publishes a copy under a new number: servers take the highest, and numbers only grow."""
    from components import versions
    from pipeline.workdir import WorkDir

    workdir = WorkDir(args.workdir.absolute())
    if not workdir.root.is_dir():
        raise UsageError(f"there is no work directory {workdir.root}")
    model_dir = (args.push_to or workdir.serving).absolute() / args.model
    with workdir.locked():
        path = versions.roll_back(model_dir, args.to)
    if path.name == str(args.to):
        print(f"version {args.to} is the newest already: {path}")
    else:
        print(f"version {args.to} is served again, as version {path.name}: {path}")
    return 0
