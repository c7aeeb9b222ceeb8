"""Arguments that several commands share."""

import argparse
from pathlib import Path

from pipeline.presets import PRESETS


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """Where runs, artifacts and metadata lie."""
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="work directory: artifacts, metadata, runs, served models (default: %(default)s)",
    )


def add_push_to(parser: argparse.ArgumentParser) -> None:
    """Where models are served from."""
    parser.add_argument(
        "--push-to", type=Path, metavar="DIR", help="serving directory (default: WORKDIR/serving)"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """What chooses a configuration."""
    parser.add_argument(
        "--preset",
        default="demo",
        help=f"configuration to start from: {', '.join(PRESETS)} (default: %(default)s)",
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
