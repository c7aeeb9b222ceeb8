"""`vitpipe data`: makes a data set that `vitpipe run` reads."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from components.contract import SPLITS
from components.errors import UsageError
from pipeline.data.options import FolderConfig, SyntheticConfig

HELP = "make a data set: from CIFAR-10, from a folder of your images, or generated"
# Below this a class is hardly learnt, and the user should know.
_FEW_FOR_TRAINING = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the three kinds of source."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    cifar10 = kinds.add_parser("cifar10", help="CIFAR-10, downloaded if there is no --source")
    cifar10.add_argument(
        "--source", help="folder of the binary version, its .tar.gz, or a URL of the latter"
    )
    folder = kinds.add_parser("folder", help="your own JPEG and PNG files, one folder a class")
    folder.add_argument("--source", type=Path, required=True, help="folder of the class folders")
    _add_fields(folder, FolderConfig)
    synthetic = kinds.add_parser("synthetic", help="small generated images, to try things out")
    _add_fields(synthetic, SyntheticConfig)
    for kind in (cifar10, folder, synthetic):
        kind.add_argument(
            "--output",
            type=Path,
            required=True,
            help="folder to make; one made from the same before is left as it is",
        )


def _add_fields(parser: argparse.ArgumentParser, config: type) -> None:
    for item in dataclasses.fields(config):
        option = "--" + item.name.replace("_", "-")
        text = item.metadata["help"]
        if isinstance(item.default, bool):
            parser.add_argument(option, action="store_true", help=text)
        else:
            kind = type(item.default)
            parser.add_argument(
                option, type=kind, default=item.default, help=f"{text} (default {item.default})"
            )


def run(args: argparse.Namespace) -> int:
    """Makes the data set and says what it holds."""
    made = {"cifar10": _cifar10, "folder": _folder, "synthetic": _synthetic}[args.kind](args)
    counts = ", ".join(f"{split} {made['splits'][split]['examples']}" for split in SPLITS)
    state = "is there already, unchanged" if made.get("untouched") else "made"
    print(f"{args.output} {state}: {len(made['classes'])} classes; images: {counts}")
    return 0


def _config(kind: type, args: argparse.Namespace) -> Any:
    values = {item.name: getattr(args, item.name) for item in dataclasses.fields(kind)}
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _cifar10(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.data import cifar10

    return cifar10.prepare(args.source, args.output)


def _synthetic(args: argparse.Namespace) -> dict[str, Any]:
    config = _config(SyntheticConfig, args)
    from pipeline.data import synthetic

    return synthetic.prepare(config, args.output)


def _folder(args: argparse.Namespace) -> dict[str, Any]:
    config = _config(FolderConfig, args)
    # What TensorFlow says of missing GPUs looks like a failure here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from pipeline.data import folder

    manifest, findings = folder.prepare(config, args.source, args.output)
    if findings.bad:
        _tell(f"left out, {folder.counted(findings.bad)}:\n{folder.listed(findings.bad)}")
    if findings.copies:
        copies = {name: f"the same image as {other}" for name, other in findings.copies.items()}
        _tell(f"copies, {len(copies)}, each kept in one split:\n{folder.listed(copies)}")
    if findings.ignored:
        print(f"ignored, no images by their names: {_some(findings.ignored)}")
    few = folder.small_classes(manifest, _FEW_FOR_TRAINING)
    if few:
        print(f"few images for training in: {', '.join(few)}")
    return manifest


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
