"""`vitpipe config show`: a preset, or what a command line makes of it, as YAML."""

import argparse

from pipeline.arguments import add_settings

HELP = "print a configuration as YAML that --config takes back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print the configuration")
    add_settings(show)


def run(args: argparse.Namespace) -> int:
    """Prints the configuration."""
    from pipeline import config, settings

    print(config.to_yaml(settings.resolve(args.preset, args.config, args.settings)), end="")
    return 0
