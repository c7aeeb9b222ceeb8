"""Makes a smaller data set of the first images of each split of another one.

    python tests/benchmarks/subset.py --data DIR --images N --output DIR

Train, eval and test keep the shares that they have in CIFAR-10 as `vitpipe data cifar10`
makes it: 75%, 8.3% and 16.7%. The result is written as `vitpipe data` writes, manifest and all.
"""

import argparse
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from components.contract import EVAL, ID, IMAGE, LABEL, TEST, TRAIN
from pipeline.data import output
from pipeline.data.dataset import DataSet, read_dataset
from pipeline.data.records import Record, read_frames


def split_sizes(images: int) -> dict[str, int]:
    """Images of each split."""
    train, evaluation = images * 45 // 60, images * 5 // 60
    return {TRAIN: train, EVAL: evaluation, TEST: images - train - evaluation}


def _records(files: tuple[Path, ...], count: int) -> Iterator[Record]:
    import tensorflow as tf

    frames = (data for path in files for data in read_frames(path))
    for data in islice(frames, count):
        features = tf.train.Example.FromString(data).features.feature
        yield Record(
            features[ID].bytes_list.value[0].decode(),
            features[IMAGE].bytes_list.value[0],
            features[LABEL].int64_list.value[0],
        )


def write_subset(dataset: DataSet, images: int, target: Path) -> None:
    """Writes `images` images of the data set under `target`."""
    sizes = split_sizes(images)
    for split, size in sizes.items():
        if size > dataset.examples[split]:
            raise SystemExit(
                f"{images} images need {size} in split {split}, and {dataset.directory} has "
                f"{dataset.examples[split]}: give a larger data set or fewer images"
            )
    splits = {split: _records(dataset.files[split], size) for split, size in sizes.items()}
    with output.staging(target) as folder:
        digest = output.fingerprint("subset", data=dataset.digest, images=images)
        output.write(folder, "subset", digest, output.Prepared(dataset.class_names, splits))


def main() -> None:
    """Writes the data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="data set to take from")
    parser.add_argument("--images", type=int, required=True, help="images in all")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    args = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    write_subset(read_dataset(args.data), args.images, args.output)


if __name__ == "__main__":
    main()
