import hashlib
import http.server
import io
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.errors import DataError, UsageError
from pipeline.data import archive, cifar10
from pipeline.data.dataset import read_dataset

Batches = tuple[Path, dict[str, str], np.ndarray]
Contents = Callable[[Path], dict[str, bytes]]


def pack(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    return target


def read(folder: Path) -> list[tuple[bytes, np.ndarray, int]]:
    found = []
    for path in sorted(folder.iterdir()):
        for data in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(data).features.feature
            pixels = tf.io.decode_png(feature["image"].bytes_list.value[0]).numpy()
            label = feature["label"].int64_list.value[0]
            found.append((feature["id"].bytes_list.value[0], pixels, label))
    return found


def test_every_pixel_and_label_arrives_in_order(binary_batches: Batches, tmp_path: Path) -> None:
    folder, digests, records = binary_batches
    cifar10.prepare(str(folder), tmp_path / "out", digests)
    found = [read(tmp_path / "out" / split) for split in ("train", "eval", "test")]
    assert [len(split) for split in found] == [36, 4, 20]
    together = [record for split in found for record in split]
    for raw, (_, pixels, label) in zip(records, together, strict=True):
        assert label == raw[0]
        np.testing.assert_array_equal(pixels, raw[1:].reshape(3, 32, 32).transpose(1, 2, 0))
    ids = [one[0] for one in together]
    assert ids[35:37] == [b"train_00035", b"train_00036"]
    assert ids[40] == b"test_00000"


def test_folder_and_archive_give_identical_bytes(
    binary_batches: Batches, tmp_path: Path, contents: Contents
) -> None:
    folder, digests, _ = binary_batches
    packed = pack(folder, tmp_path / "cifar.tar.gz")
    cifar10.prepare(str(folder), tmp_path / "a", digests)
    cifar10.prepare(str(packed), tmp_path / "b", digests)
    made = contents(tmp_path / "a")
    assert made == contents(tmp_path / "b")
    assert sorted(made) == [
        "eval/part-00000.tfrecord.gz",
        "labels.txt",
        "manifest.json",
        "test/part-00000.tfrecord.gz",
        "train/part-00000.tfrecord.gz",
    ]
    assert made["labels.txt"] == b"red\ngreen\nblue\n"
    assert not list(tmp_path.glob(".*"))


def test_a_second_run_leaves_the_output_untouched(binary_batches: Batches, tmp_path: Path) -> None:
    folder, digests, _ = binary_batches
    assert "untouched" not in cifar10.prepare(str(folder), tmp_path / "out", digests)
    before = (tmp_path / "out/manifest.json").stat()
    assert cifar10.prepare(str(folder), tmp_path / "out", digests)["untouched"]
    assert (tmp_path / "out/manifest.json").stat() == before


@pytest.mark.parametrize("name", ["data_batch_2.bin", "test_batch.bin"])
def test_a_changed_or_missing_file_is_refused(
    binary_batches: Batches, tmp_path: Path, name: str
) -> None:
    folder, digests, _ = binary_batches
    data = bytearray((folder / name).read_bytes())
    data[77] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name} has SHA-1 .* expected {digests[name]}"):
        cifar10.prepare(str(folder), tmp_path / "out", digests)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        cifar10.prepare(str(folder), tmp_path / "out", digests)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batches"]


def test_other_names_of_the_classes_are_refused(binary_batches: Batches, tmp_path: Path) -> None:
    folder, digests, _ = binary_batches
    expected = digests["batches.meta.txt"]
    (folder / "batches.meta.txt").write_text("green\nred\nblue\n")
    with pytest.raises(DataError, match=rf"batches\.meta\.txt has SHA-1 .* expected {expected}"):
        cifar10.prepare(str(folder), tmp_path / "out", digests)
    (folder / "batches.meta.txt").unlink()
    with pytest.raises(DataError, match=r"batches\.meta\.txt is missing"):
        cifar10.prepare(str(folder), tmp_path / "out", digests)


def test_the_names_of_the_classes_count_with_and_without_an_empty_line_at_the_end(
    binary_batches: Batches, tmp_path: Path
) -> None:
    folder, digests, _ = binary_batches
    for number, text in enumerate(("red\ngreen\nblue\n", "red\ngreen\nblue\n\n")):
        (folder / "batches.meta.txt").write_text(text)
        made = cifar10.prepare(str(folder), tmp_path / f"out{number}", digests)
        assert made["classes"] == ["red", "green", "blue"]


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        cifar10.prepare(str(tmp_path / "nothing"), tmp_path / "out")


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [
        entry("../test_batch.bin"),
        entry("/tmp/test_batch.bin"),
        entry("a/../../test_batch.bin"),
        entry("test_batch.bin", tarfile.SYMTYPE, "/etc/passwd"),
        entry("test_batch.bin", tarfile.LNKTYPE, "/etc/passwd"),
        entry("test_batch.bin", tarfile.CHRTYPE),
        entry("test_batch.bin", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type!r}",
)
def test_a_hostile_archive_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO())
    with pytest.raises(DataError, match="refused"):
        cifar10.prepare(str(path), tmp_path / "out")
    assert [found.name for found in tmp_path.iterdir()] == ["bad.tar.gz"]


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_LARGEST_CONTENT", 2**20)
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = entry("unwanted")
        info.size = 2**22
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(DataError, match="more than 1048576 bytes"):
        archive.unpack(path, {"test_batch.bin"}, tmp_path)


def test_an_archive_with_two_files_of_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for folder in ("a", "b"):
            tar.addfile(entry(f"{folder}/test_batch.bin"), io.BytesIO())
    with pytest.raises(DataError, match=r"more than one test_batch\.bin; refused"):
        cifar10.prepare(str(path), tmp_path / "out")


def test_an_unreadable_source_is_told(
    binary_batches: Batches, open_folder: Path, as_nobody: Callable
) -> None:
    folder, digests, _ = binary_batches
    source = open_folder / "source"
    shutil.copytree(folder, source)
    packed = pack(folder, open_folder / "cifar.tar.gz")
    target = open_folder / "target"
    target.mkdir()
    target.chmod(0o777)
    for path in (source / "test_batch.bin", source / "batches.meta.txt", source, packed):
        mode = path.stat().st_mode
        path.chmod(0)
        given = packed if path == packed else source
        with as_nobody(), pytest.raises((DataError, UsageError), match=r"Permission denied"):
            cifar10.prepare(str(given), target / "out", digests)
        path.chmod(mode)


@pytest.mark.parametrize("keep", [0, 20, 3000])
def test_an_archive_that_is_cut_off_is_refused(
    binary_batches: Batches, tmp_path: Path, keep: int
) -> None:
    folder, digests, _ = binary_batches
    packed = pack(folder, tmp_path / "cifar.tar.gz")
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"damaged or no \.tar\.gz"):
        cifar10.prepare(str(packed), tmp_path / "out", digests)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in tmp_path."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_checked_and_used(
    binary_batches: Batches,
    tmp_path: Path,
    served: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, digests, _ = binary_batches
    packed = pack(folder, tmp_path / "cifar.tar.gz")
    with pytest.raises(DataError, match="expected c32a1d4ab5d03f1284b67883e8d87530"):
        cifar10.prepare(f"{served}/cifar.tar.gz", tmp_path / "out", digests)
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5(packed.read_bytes()).hexdigest())
    cifar10.prepare(f"{served}/cifar.tar.gz", tmp_path / "out", digests)
    assert read_dataset(tmp_path / "out").examples == {"train": 36, "eval": 4, "test": 20}
    assert "cifar.tar.gz: " in capsys.readouterr().err


def test_no_network_is_one_clear_sentence(tmp_path: Path, served: str) -> None:
    with pytest.raises(DataError, match=r"cannot download .*404.*--source") as caught:
        cifar10.prepare(f"{served}/missing.tar.gz", tmp_path / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"cannot download .*refused.*check the network"):
        cifar10.prepare("http://127.0.0.1:9/x.tar.gz", tmp_path / "out")
    with pytest.raises(UsageError, match="must begin with https"):
        cifar10.prepare("file:///etc/passwd", tmp_path / "out")


@pytest.mark.cifar10
def test_the_real_cifar10_has_the_published_counts(real_cifar10: Path, tmp_path: Path) -> None:
    cifar10.prepare(str(real_cifar10), tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert data.examples == {"train": 45_000, "eval": 5_000, "test": 10_000}
    assert data.label_counts["test"] == dict.fromkeys(range(10), 1000)
    together = [
        data.label_counts["train"][label] + data.label_counts["eval"][label] for label in range(10)
    ]
    assert together == [5000] * 10
    assert data.class_names[0] == "airplane"
    assert data.class_names[9] == "truck"
