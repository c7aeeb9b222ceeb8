"""What reading, decoding, normalising and augmenting add to a step of training.

    python tests/benchmarks/feeding.py --data DIR [--preset seed|cifar10] [--steps N]

The same compiled model does the same steps in two ways, in turn, in one process: on the stream
that the Trainer uses (from GZIP shards, through the transform graph), and on four of its
batches held ready in memory. A step lasts from the end of the one before to its own end, so a
wait for the next batch counts, and so does work that the feeding does beside the model on the
same CPUs. Before the steps that count, others fill the buffers: they are as full at the end as
at the start, so nothing prepared beforehand is a gift. Medians hide what the feeding does in
bursts, so means are printed too. What an epoch costs before its first batch comes last.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.settings import TransformConfig
from pipeline.config import RunConfig, to_values
from pipeline.data.dataset import DataSet, read_dataset
from pipeline.data.records import read_frames
from pipeline.local import set_environment
from pipeline.presets import preset

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_READY_BATCHES = 4
_ANALYSED_IMAGES = 512
_MARK = 1.10
READY, FED = "ready", "fed"


@dataclass(frozen=True)
class Plan:
    """How many steps: `rounds` of both ways in turn, each of `warm_up` and then `steps`."""

    rounds: int
    warm_up: int
    steps: int


@dataclass(frozen=True)
class Streams:
    """The same batches in two ways, by `READY` and `FED`, of the same type."""

    by_way: "dict[str, tf.data.Dataset]"


def write_graph(dataset: DataSet, image_size: int, folder: Path) -> None:
    """Writes a transform graph as the pipeline does, from some of the training images."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam

    from components import contract
    from components.preprocessing import preprocessing_fn

    specs = {
        contract.IMAGE: tf.io.FixedLenFeature([], tf.string),
        contract.LABEL: tf.io.FixedLenFeature([], tf.int64),
    }
    metadata = tft.DatasetMetadata.from_feature_spec(specs)
    frames = islice(read_frames(dataset.files[contract.TRAIN][0]), _ANALYSED_IMAGES)
    parsed = [tf.io.parse_single_example(frame, specs) for frame in frames]
    rows = [{name: value.numpy() for name, value in row.items()} for row in parsed]
    settings = {"image_size": image_size, **dataclasses.asdict(TransformConfig())}
    with (
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temporary")),
    ):
        data = pipeline | beam.Create(rows), metadata
        graph = data | tft_beam.AnalyzeDataset(
            functools.partial(preprocessing_fn, custom_config=settings)
        )
        _ = graph | tft_beam.WriteTransformFn(str(folder))
        _ = metadata | tft_beam.WriteMetadata(str(folder / "metadata"), pipeline)


def build_model(config: RunConfig, classes: int, total_steps: int) -> "keras.Model":
    """The Trainer's own model, compiled as the Trainer does."""
    import keras

    from components.task import compiled_model

    keras.utils.set_random_seed(config.trainer.seed)
    keras.config.set_dtype_policy(config.trainer.precision)
    return compiled_model(to_values(config), config.trainer, classes, total_steps)


def build_streams(dataset: DataSet, config: RunConfig, graph_folder: Path) -> Streams:
    """The Trainer's stream, and the first few of its batches held in memory."""
    from components import feeding
    from components.contract import TRAIN

    trainer = config.trainer
    files = [str(path) for path in dataset.files[TRAIN]]
    feed = feeding.Feed(
        files, trainer.batch_size, trainer.shuffle_buffer, trainer.augmentation, trainer.seed
    )
    fed = feeding.training_batches(feed, feeding.load_graph(str(graph_folder)), 0, 1)
    ready = fed.take(_READY_BATCHES).cache()
    # Filled here, so that the steps find nothing but tensors.
    for _ in ready:
        continue
    return Streams({READY: ready.repeat(), FED: fed})


def step_seconds(model: "keras.Model", stream: "tf.data.Dataset", plan: Plan) -> list[float]:
    """Seconds of each step after the warm-up, in one call of `fit`."""
    import keras

    ends: list[float] = []

    def end_of_step(_: int, logs: dict[str, Any]) -> None:
        # Reading the loss, as the Trainer does after each step, waits for the device.
        float(logs["loss"])
        ends.append(time.perf_counter())

    model.fit(
        stream,
        steps_per_epoch=plan.warm_up + plan.steps,
        epochs=1,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=end_of_step)],
    )
    counted = ends[plan.warm_up - 1 :]
    return [later - earlier for earlier, later in pairwise(counted)]


def alternate(model: "keras.Model", streams: Streams, plan: Plan) -> dict[str, list[list[float]]]:
    """Seconds of steps by way and round; each round begins with the other way."""
    found: dict[str, list[list[float]]] = {READY: [], FED: []}
    for number in range(plan.rounds):
        for way in (READY, FED) if number % 2 == 0 else (FED, READY):
            found[way].append(step_seconds(model, streams.by_way[way], plan))
    return found


def epoch_start_seconds(stream: "tf.data.Dataset", repeats: int) -> float:
    """Median seconds from asking for an epoch to its first batch."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        next(iter(stream))
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def summary(found: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Milliseconds of a step by way, the ratios of median and mean, the ratio of each round."""
    steps = {way: [step for block in blocks for step in block] for way, blocks in found.items()}
    result: dict[str, Any] = {}
    for name, kind in (("median", statistics.median), ("mean", statistics.fmean)):
        result[name] = {way: 1000 * kind(seconds) for way, seconds in steps.items()}
        result[f"ratio_of_{name}s"] = result[name][FED] / result[name][READY]
    result["ratio_by_round"] = [
        statistics.median(fed) / statistics.median(ready)
        for ready, fed in zip(found[READY], found[FED], strict=True)
    ]
    return result


def show(result: dict[str, Any], title: str) -> None:
    """Prints the figures."""
    print(f"{title}\n\n| ms a step | ready tensors | fed | ratio |\n| --- | ---: | ---: | ---: |")
    for kind in ("median", "mean"):
        ready, fed = result[kind][READY], result[kind][FED]
        print(f"| {kind} | {ready:.1f} | {fed:.1f} | {fed / ready:.3f} |")
    rounds = ", ".join(f"{ratio:.3f}" for ratio in result["ratio_by_round"])
    worst = max(result["ratio_of_medians"], result["ratio_of_means"])
    print(f"\nratio by round: {rounds}")
    print(f"first batch of an epoch: {result['epoch_start']:.2f} s, once an epoch")
    print(f"the larger ratio {worst:.3f} is {'within' if worst <= _MARK else 'ABOVE'} {_MARK:.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="from `vitpipe data`, gzipped")
    parser.add_argument("--preset", default="cifar10", help="model and recipe (%(default)s)")
    parser.add_argument("--steps", type=int, default=30, help="timed, a round (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=10, help="before them (%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="of each way (%(default)s)")
    parser.add_argument("--transform-graph", type=Path, help="of the pipeline (makes one)")
    parser.add_argument("--output", type=Path, help="JSON file with every step")
    return parser


def _check(plan: Plan, dataset: DataSet, config: RunConfig) -> None:
    batches = dataset.examples["train"] // config.trainer.batch_size
    needed = plan.warm_up + plan.steps
    if min(plan.rounds, plan.warm_up, plan.steps) < 1:
        raise SystemExit("--rounds, --warm-up and --steps must be 1 or more")
    if needed > batches:
        raise SystemExit(
            f"{needed} steps a round need more than the {batches} whole batches of an epoch: "
            "lower --steps or --warm-up, or give more data"
        )


def main() -> None:
    """Measures, then prints the table."""
    args = _parser().parse_args()
    plan, config = Plan(args.rounds, args.warm_up, args.steps), preset(args.preset)
    dataset = read_dataset(args.data)
    _check(plan, dataset, config)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    set_environment()
    with tempfile.TemporaryDirectory(prefix="vitpipe-feeding-") as scratch:
        folder = args.transform_graph or Path(scratch)
        if args.transform_graph is None:
            # In a process of its own: what Beam leaves behind would run beside the steps.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                pool.submit(write_graph, dataset, config.model.image_size, folder).result()
        streams = build_streams(dataset, config, folder)
        total = plan.rounds * 2 * (plan.warm_up + plan.steps)
        found = alternate(build_model(config, len(dataset.class_names), total), streams, plan)
        result = {"epoch_start": epoch_start_seconds(streams.by_way[FED], 3), **summary(found)}
    show(result, f"preset {args.preset}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    if args.output:
        content = {**result, "preset": args.preset, "plan": dataclasses.asdict(plan)}
        args.output.write_text(json.dumps({**content, "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
