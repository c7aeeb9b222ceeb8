"""`vitpipe run`: the whole pipeline on this machine."""

import argparse
from pathlib import Path

HELP = "run the whole pipeline on this machine"


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose a configuration."""
    parser.add_argument(
        "--preset",
        default="demo",
        help="configuration to start from (default: %(default)s); see `vitpipe config show`",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML as `vitpipe config show` prints it, over the preset",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        dest="settings",
        help="one setting, over preset and file; may be repeated",
    )


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
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="artifacts, metadata, runs and served models (default: %(default)s)",
    )
    parser.add_argument(
        "--push-to", type=Path, metavar="DIR", help="serving directory (default: WORKDIR/serving)"
    )
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
        preset=args.preset,
        config=config,
        data=args.data.absolute(),
        workdir=workdir,
        serving=(args.push_to or workdir.serving).absolute(),
        arguments=tuple(args.command_line),
    )
    return local.run(request)
