"""`vitpipe model`: the named variants, and what one of them is made of."""

import argparse
import json
from typing import Any

from components.errors import UsageError
from models.config import ViTConfig
from models.counts import Counts, count, count_parts
from models.variants import SOURCES, VARIANTS, variant
from pipeline.text import aligned, emit

HELP = "list the model variants; show one's layers, weights and FLOPs"

CLASSES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the actions `list` and `summary`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the variants, one a line")
    summary = actions.add_parser("summary", help="layers with shapes, weights and arithmetic")
    summary.add_argument("name", metavar="NAME", help="a variant of `vitpipe model list`")
    summary.add_argument(
        "--classes",
        type=int,
        default=CLASSES,
        metavar="N",
        help="outputs of the model, at least 2 (default: %(default)s)",
    )
    summary.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="images at once, at least 1 (default: %(default)s)",
    )
    for action in (listing, summary):
        action.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Prints the list or the summary.

    Raises:
        UsageError: no such variant, fewer than 2 classes, or no image.
    """
    if args.action == "list":
        records = [_record(config) for config in VARIANTS.values()]
        emit(json.dumps(records, indent=2) if args.json else "\n".join(_list(records)))
        return 0
    config = _checked(args)
    emit(_as_json(config, args) if args.json else "\n".join(_summary(config, args)))
    return 0


def _record(config: ViTConfig) -> dict[str, Any]:
    total = count(config, CLASSES)
    return {
        "name": config.name,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "width": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "classes": CLASSES,
        "weights": total.weights,
        "multiply_adds": total.multiply_adds,
        "source": SOURCES[config.name],
    }


def _list(records: list[dict[str, Any]]) -> list[str]:
    titles = {
        "name": "VARIANT",
        "image_size": "IMAGE",
        "patch_size": "PATCH",
        "width": "WIDTH",
        "depth": "DEPTH",
        "heads": "HEADS",
        "weights": "WEIGHTS",
        "multiply_adds": "MULTIPLY-ADDS",
        "source": "SOURCE",
    }
    rows = [[_cell(record[key]) for key in titles] for record in records]
    heading = f"Weights and multiply-adds with {CLASSES} classes, for one image:"
    return aligned([[heading], list(titles.values()), *rows], right=range(1, 8))


def _cell(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _checked(args: argparse.Namespace) -> ViTConfig:
    for option, value, least in (("--classes", args.classes, 2), ("--batch", args.batch, 1)):
        if value < least:
            raise UsageError(f"{option}: expected at least {least}, got {value}")
    try:
        return variant(args.name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _counts(config: ViTConfig, args: argparse.Namespace) -> tuple[list[Counts], Counts]:
    """The layers and the whole, for the batch."""
    parts = [part.of_batch(args.batch) for part in count_parts(config, args.classes)]
    return parts, count(config, args.classes).of_batch(args.batch)


def _as_json(config: ViTConfig, args: argparse.Namespace) -> str:
    parts, total = _counts(config, args)
    record = {
        "name": config.name,
        "classes": args.classes,
        "batch": args.batch,
        **_amounts(total),
        "layers": [
            {"name": part.name, "output_shape": part.shape, **_amounts(part)} for part in parts
        ],
    }
    return json.dumps(record, indent=2)


def _amounts(part: Counts) -> dict[str, int]:
    return {
        "weights": part.weights,
        "multiply_adds": part.multiply_adds,
        "flops": part.flops,
    }


def _summary(config: ViTConfig, args: argparse.Namespace) -> list[str]:
    parts, total = _counts(config, args)
    images = "1 image" if args.batch == 1 else f"{args.batch:,} images"
    heading = f"{config.name} with {args.classes:,} classes, forward pass of {images}:"
    titles = ["LAYER", "OUTPUT", "WEIGHTS", "MULTIPLY-ADDS", "FLOPS"]
    rows = [_row(part.name, part) for part in parts]
    return aligned([[heading], titles, *rows, _row("total", total)], right=(2, 3, 4))


def _row(name: str, part: Counts) -> list[str]:
    shape = " x ".join(str(size) for size in part.shape)
    return [name, shape, *(_cell(amount) for amount in _amounts(part).values())]
