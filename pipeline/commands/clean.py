"""`vitpipe clean`: remove artifacts that are no longer needed."""

import argparse

from pipeline.arguments import add_workdir

HELP = "remove the artifacts of old runs, never what is pushed or running"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    add_workdir(parser)
    parser.add_argument(
        "--keep",
        type=int,
        required=True,
        metavar="N",
        help="newest runs whose artifacts stay; so does the latest blessed model",
    )


def run(args: argparse.Namespace) -> int:
    """Cleans, unless a run is going on here."""
    from components.errors import UsageError
    from pipeline.workdir import WorkDir

    if args.keep < 1:
        raise UsageError(f"--keep takes 1 or more, got {args.keep}")
    if not args.workdir.is_dir():
        raise UsageError(f"there is no work directory {args.workdir}")
    workdir = WorkDir(args.workdir.absolute())
    with workdir.locked():
        from pipeline.cleaning import clean

        cleaned = clean(workdir, args.keep)
    print(f"removed {len(cleaned.folders)} folders, {cleaned.freed / 1e6:.1f} MB")
    return 0
