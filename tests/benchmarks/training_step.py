"""A step of training, augmentation included: another program's ViT for CIFAR-10 and ours.

    python -m tests.benchmarks.training_step --data DIR --reference vit_cifar_seed.py

The reference is a Keras script that defines `create_vit_classifier()`, and the constants
`batch_size`, `learning_rate` and `weight_decay`, and trains on what
`keras.datasets.cifar10.load_data()` returns; what it does at its top level from the call of that
function on is left out. Its augmentation lies inside its model. Ours is the Trainer's own model
on the Trainer's own stream: reading, decoding, resizing, normalising and augmenting count.

Both train on the same real images with the same batch in one process, in turn, so that a slow
minute of the machine hits both. A step lasts from the end of the one before to its own end.
"""

import argparse
import ast
import dataclasses
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import RunConfig
from pipeline.data.dataset import DataSet, read_dataset
from pipeline.data.records import read_frames
from pipeline.local import set_environment
from pipeline.settings import resolve
from tests.benchmarks.feeding import (
    FED,
    Plan,
    build_model,
    build_streams,
    step_seconds,
    write_graph,
)

if TYPE_CHECKING:
    import keras
    import numpy as np

_MARK = 2.0
_FACTORY = "create_vit_classifier"
REFERENCE = "reference"


def decoded(dataset: DataSet, number: int) -> tuple["np.ndarray", "np.ndarray"]:
    """The first images of the training split: (N, S, S, 3) uint8 and (N, 1) labels."""
    import numpy as np
    import tensorflow as tf

    from components import contract, tfrecords

    images, labels = [], []
    for frame in islice(read_frames(dataset.files[contract.TRAIN][0]), number):
        example = tf.train.Example.FromString(frame)
        images.append(tf.io.decode_png(tfrecords.encoded_image(example), 3).numpy())
        labels.append(example.features.feature[contract.LABEL].int64_list.value[0])
    return np.stack(images), np.array(labels)[:, None]


def definitions(source: str) -> ast.Module:
    """The script's statements up to the one that builds the model, without its pictures.

    It was written for Keras 3, which `tensorflow.keras` is not where TFX runs.
    """
    kept: list[ast.stmt] = []
    for statement in ast.parse(source).body:
        text = ast.unparse(statement)
        if text.startswith("import matplotlib"):
            continue
        if isinstance(statement, ast.ImportFrom):
            text = text.replace("from tensorflow import keras", "import keras")
            statement = ast.parse(text.replace("tensorflow.keras", "keras")).body[0]
        if not isinstance(statement, ast.FunctionDef) and f"{_FACTORY}(" in text:
            return ast.Module(kept, [])
        kept.append(statement)
    raise SystemExit(f"the reference never calls {_FACTORY}() at its top level")


def reference_model(path: Path, images: tuple[Any, Any]) -> tuple["keras.Model", int]:
    """The reference's model, compiled as it says, and its batch size."""
    import keras

    keras.config.set_dtype_policy("float32")
    # What the script adapts its normalisation to, and would train on.
    keras.datasets.cifar10.load_data = lambda: (images, images)
    names: dict[str, Any] = {"__name__": "reference"}
    exec(compile(definitions(path.read_text()), str(path), "exec"), names)
    model = names[_FACTORY]()
    model.compile(
        optimizer=keras.optimizers.AdamW(names["learning_rate"], names["weight_decay"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=False),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5"),
        ],
    )
    return model, int(names["batch_size"])


def measure(args: argparse.Namespace, config: RunConfig, graph: Path) -> dict[str, list[float]]:
    """Median seconds of a step by round, of the reference and of each way of ours."""
    import tensorflow as tf

    dataset, plan = read_dataset(args.data), Plan(args.rounds, args.warm_up, args.steps)
    batch = config.trainer.batch_size
    images = decoded(dataset, 8 * batch)
    theirs, their_batch = reference_model(args.reference, images)
    if their_batch != batch:
        raise SystemExit(f"the reference's batch is {their_batch}, the preset's {batch}")
    whole = tf.data.Dataset.from_tensor_slices(images).shuffle(8 * batch).batch(batch)
    ways = {REFERENCE: (theirs, whole.repeat().prefetch(tf.data.AUTOTUNE))}
    for precision, xla in itertools.product(args.precision, args.xla):
        trainer = dataclasses.replace(config.trainer, precision=precision, xla=xla)
        changed = dataclasses.replace(config, trainer=trainer)
        model = build_model(changed, len(dataset.class_names), 10_000)
        stream = build_streams(dataset, changed, graph).by_way[FED]
        # Traced now, as the next model is built with another precision or compiler.
        step_seconds(model, stream, Plan(1, 1, 1))
        ways[f"{precision}, xla {xla}"] = model, stream
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(plan.rounds):
        order = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for way in order:
            found[way].append(statistics.median(step_seconds(*ways[way], plan)))
    return found


def show(found: dict[str, list[float]], batch: int) -> None:
    """Prints the figures; a ratio is the median of the rounds' own ratios."""
    print("| way | ms a step | images/s | times as fast |\n| --- | ---: | ---: | ---: |")
    for way, seconds in found.items():
        median = statistics.median(seconds)
        ratio = _ratio(found[REFERENCE], seconds)
        print(f"| {way} | {1000 * median:.0f} | {batch / median:.0f} | {ratio:.2f} |")
    best = max(_ratio(found[REFERENCE], found[way]) for way in found if way != REFERENCE)
    print(f"\nthe best, {best:.2f}, is {'at least' if best >= _MARK else 'BELOW'} {_MARK:.1f}")


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 from `vitpipe data`")
    parser.add_argument("--reference", type=Path, required=True, help="the other program")
    parser.add_argument("--preset", default="seed", help="ours (%(default)s)")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], help="section.field=value"
    )
    parser.add_argument("--precision", nargs="+", default=["float32"], help="(%(default)s)")
    parser.add_argument("--xla", nargs="+", default=["chains"], help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="timed, a round (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=2, help="before them (%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="of each way (%(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file with every round")
    return parser


def main() -> None:
    """Measures, then prints the table."""
    args = _parser().parse_args()
    config = resolve(args.preset, None, args.settings)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    set_environment()
    with tempfile.TemporaryDirectory(prefix="vitpipe-step-") as scratch:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            size = config.model.image_size
            pool.submit(write_graph, read_dataset(args.data), size, Path(scratch)).result()
        found = measure(args, config, Path(scratch))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    show(found, config.trainer.batch_size)
    if args.output:
        args.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
