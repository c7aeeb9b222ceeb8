"""The order of the images follows from seed and epoch alone."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components import feeding
from components.feeding import Feed, Graph, Share
from tests.components.material import GRAPH_IMAGES, SIZE, encode, example, good_records, write_shard

COUNT, BATCH = 10, 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two shards of flat images; the label is the number of the record."""
    folder = tmp_path_factory.mktemp("shards")
    records = [
        example(f"id-{n}", encode(np.full((SIZE, SIZE, 3), 20 * n, np.uint8)), n)
        for n in range(COUNT)
    ]
    return [
        write_shard(folder / "a.gz", records[:6]),
        write_shard(folder / "b.gz", records[6:]),
    ]


def feed(files: list[str], **changes: Any) -> Feed:
    settings = {"shuffle_buffer": 100, "augmentation": "none", "seed": 5, **changes}
    return Feed(files, BATCH, **settings)


def labels_by_epoch(feed: Feed, graph: Graph, first: int, epochs: int) -> list[list[list[int]]]:
    """Labels by epoch and batch; the stream goes on, so it is cut."""
    steps = -(-COUNT // feed.batch_size)
    stream = feeding.training_batches(feed, graph, first, epochs)
    batches = [
        labels.tolist() for _, labels in stream.take(steps * (epochs - first)).as_numpy_iterator()
    ]
    return [batches[start : start + steps] for start in range(0, len(batches), steps)]


def flat(epoch: list[list[int]]) -> list[int]:
    return [label for batch in epoch for label in batch]


def test_every_record_comes_once_an_epoch(files: list[str], graph: Graph) -> None:
    for epoch in labels_by_epoch(feed(files), graph, 0, 3):
        assert Counter(flat(epoch)) == Counter(range(COUNT))


def test_the_last_batch_of_an_epoch_is_smaller(files: list[str], graph: Graph) -> None:
    for epoch in labels_by_epoch(feed(files), graph, 0, 2):
        assert [len(batch) for batch in epoch] == [4, 4, 2]


def test_each_epoch_has_an_order_of_its_own(files: list[str], graph: Graph) -> None:
    orders = [tuple(flat(epoch)) for epoch in labels_by_epoch(feed(files), graph, 0, 4)]
    assert len({*orders, tuple(range(COUNT))}) == 5


def test_the_seed_decides_the_order(files: list[str], graph: Graph) -> None:
    once = labels_by_epoch(feed(files), graph, 0, 2)
    assert labels_by_epoch(feed(files), graph, 0, 2) == once
    assert labels_by_epoch(feed(files, seed=6), graph, 0, 2) != once


def test_a_small_buffer_shuffles_too(files: list[str], graph: Graph) -> None:
    (epoch,) = labels_by_epoch(feed(files, shuffle_buffer=3), graph, 0, 1)
    assert flat(epoch) != list(range(COUNT))
    assert Counter(flat(epoch)) == Counter(range(COUNT))


@pytest.mark.parametrize("augmentation", ["flip_rotate_zoom", "crop_flip"])
def test_a_resumed_stream_is_the_undisturbed_one(
    augmentation: str, files: list[str], graph: Graph
) -> None:
    given = feed(files, augmentation=augmentation)
    whole = list(feeding.training_batches(given, graph, 0, 3).take(9).as_numpy_iterator())
    resumed = list(feeding.training_batches(given, graph, 2, 3).take(3).as_numpy_iterator())
    for (images, labels), (again, labels_again) in zip(whole[6:], resumed, strict=True):
        np.testing.assert_array_equal(labels_again, labels)
        np.testing.assert_array_equal(again, images)


def test_each_epoch_is_augmented_in_a_way_of_its_own(graph: Graph, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s", good_records(1))
    given = Feed([shard], 1, 1, "crop_flip", 0)
    images = [image for image, _ in feeding.training_batches(given, graph, 0, 5).take(5)]
    different = {image.numpy().tobytes() for image in images}
    assert len(different) >= 4


def test_the_stream_does_not_end_with_the_last_step(files: list[str], graph: Graph) -> None:
    # Keras warns where it does, and a warning is an error in tests.
    batches = list(feeding.training_batches(feed(files), graph, 0, 1).as_numpy_iterator())
    assert len(batches) > 3


def test_evaluation_keeps_the_order_and_augments_nothing(files: list[str], graph: Graph) -> None:
    batches = list(feeding.evaluation_batches(files, BATCH, graph).as_numpy_iterator())
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    images = np.concatenate([images for images, _ in batches])
    assert images.shape == (COUNT, SIZE, SIZE, 3)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(np.ptp(images, axis=(1, 2)), np.zeros((COUNT, 3)))
    assert (np.diff(images[:, 0, 0, 0]) > 0).all()


def test_evaluation_knows_its_length(files: list[str], graph: Graph) -> None:
    assert int(feeding.evaluation_batches(files, BATCH, graph).cardinality()) == 3
    assert int(feeding.evaluation_batches(files, 5, graph).cardinality()) == 2


def test_the_graph_normalises_what_the_statistics_were_taken_of(graph: Graph) -> None:
    images, labels = graph.apply(tf.constant(good_records(GRAPH_IMAGES)))
    assert labels.numpy().tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.mean(images, axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(images, axis=(0, 1, 2)), 1, atol=1e-5)


def together(streams: list[tf.data.Dataset], share: list[Share], steps: int) -> list[Any]:
    """The weighted records of all replicas, by step: (images, labels), and the weights."""
    iterators = [stream.as_numpy_iterator() for stream in streams]
    found = []
    for _ in range(steps):
        parts = [
            next(iterator)
            for iterator, each in zip(iterators, share, strict=True)
            for _ in range(each.count)
        ]
        images, labels, weights = (np.concatenate(values) for values in zip(*parts, strict=True))
        found.append((images[weights > 0], labels[weights > 0], weights))
    return found


@pytest.mark.parametrize(
    "shares",
    [
        [Share(1, 0, 1)],
        [Share(2, 0, 2)],
        [Share(2, 0, 1), Share(2, 1, 1)],
        [Share(4, 0, 2), Share(4, 2, 2)],
        [Share(3, 0, 1), Share(3, 1, 1), Share(3, 2, 1)],
    ],
)
def test_all_shares_together_are_what_one_process_sees(
    shares: list[Share], files: list[str], graph: Graph
) -> None:
    # Batches of 4, 4 and 2: of three or four replicas some have none of the last.
    given = feed(files, augmentation="crop_flip")
    whole = list(feeding.training_batches(given, graph, 1, 3).take(6).as_numpy_iterator())
    streams = [feeding.training_shares(given, graph, 1, each) for each in shares]
    seen = together(streams, shares, 6)
    for (images, labels), (all_images, all_labels, weights) in zip(whole, seen, strict=True):
        np.testing.assert_array_equal(all_labels, labels)
        np.testing.assert_array_equal(all_images, images)
        np.testing.assert_allclose(weights[weights > 0], 1 / len(labels))


def test_evaluation_shares_go_through_all_records_over_and_over(
    files: list[str], graph: Graph
) -> None:
    shares = [Share(3, 0, 1), Share(3, 1, 2)]
    streams = [feeding.evaluation_shares(files, BATCH, graph, each) for each in shares]
    seen = [labels.tolist() for _, labels, _ in together(streams, shares, 6)]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2


def test_a_replica_without_a_record_gets_one_that_does_not_count(
    files: list[str], graph: Graph
) -> None:
    stream = feeding.evaluation_shares(files, BATCH, graph, Share(4, 0, 1))
    sizes = [
        (len(labels), weights.tolist()) for _, labels, weights in stream.take(3).as_numpy_iterator()
    ]
    assert sizes == [(1, [0.25]), (1, [0.25]), (1, [0.0])]
