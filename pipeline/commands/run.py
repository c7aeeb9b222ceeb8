"""`vitpipe run`: the whole pipeline on this machine."""

import argparse
from pathlib import Path

from pipeline.arguments import add_push_to, add_settings, add_workdir

HELP = "run the whole pipeline on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    add_settings(parser)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("work/data/synthetic"),
        metavar="DIR",
        help="data set, as `vitpipe data` writes it (default: %(default)s)",
    )
    add_workdir(parser)
    add_push_to(parser)
    parser.add_argument(
        "--max-bad-records",
        type=int,
        metavar="N",
        help="bad records to drop and report (validation.max_bad_records)",
    )


def run(args: argparse.Namespace) -> int:
    """Checks everything, then runs."""
    from pipeline import local, settings
    from pipeline.workdir import WorkDir

    config = settings.resolve(args.preset, args.config, args.settings, args.max_bad_records)
    workdir = WorkDir(args.workdir.absolute())
    request = local.Request(
        preset=args.config.name if args.config else args.preset,
        config=config,
        data=args.data.absolute(),
        workdir=workdir,
        serving=(args.push_to or workdir.serving).absolute(),
        arguments=tuple(args.command_line),
    )
    return local.run(request)
