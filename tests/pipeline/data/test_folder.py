import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.errors import DataError, UsageError
from pipeline.data import folder
from pipeline.data.dataset import read_dataset
from pipeline.data.listing import list_images
from pipeline.data.options import FolderConfig


def picture(seed: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    size = (6 + seed % 5, 7)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """20 cats (JPEG), 30 dogs (PNG, some in a folder below), all different."""
    root = tmp_path / "pictures"
    (root / "cat").mkdir(parents=True)
    (root / "dog" / "more").mkdir(parents=True)
    for index in range(20):
        (root / "cat" / f"{index}.JPG").write_bytes(picture(index, "JPEG"))
    for index in range(30):
        below = root / "dog" / "more" if index < 10 else root / "dog"
        (below / f"{index}.png").write_bytes(picture(100 + index))
    return root


def prepare(source: Path, **settings: Any) -> tuple[dict, folder.Findings]:
    return folder.prepare(FolderConfig(**settings), source, source.parent / "out")


def written(out: Path) -> dict[str, tuple[str, bytes, int]]:
    found = {}
    for path in sorted(out.glob("*/*.gz")):
        for data in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(data).features.feature
            name = feature["id"].bytes_list.value[0].decode()
            image = feature["image"].bytes_list.value[0]
            found[name] = (path.parent.name, image, feature["label"].int64_list.value[0])
    return found


def test_files_arrive_unchanged_and_splits_are_stratified(source: Path) -> None:
    made, findings = prepare(source, eval_fraction=0.1, test_fraction=0.2)
    found = written(source.parent / "out")
    assert len(found) == 50
    for name, (_, image, label) in found.items():
        assert image == (source / name).read_bytes()
        assert label == ("dog" in name)
    per_class = {split: content["per_class"] for split, content in made["splits"].items()}
    assert per_class == {"train": [14, 21], "eval": [2, 3], "test": [4, 6]}
    assert findings.bad == {}
    assert read_dataset(source.parent / "out").class_names == ("cat", "dog")


def test_a_further_image_and_other_names_move_hardly_any(source: Path) -> None:
    prepare(source)
    before = {image: split for split, image, _ in written(source.parent / "out").values()}
    (source.parent / "out").rename(source.parent / "first")
    (source / "cat" / "0.JPG").rename(source / "cat" / "renamed.jpg")
    (source / "dog" / "new.png").write_bytes(picture(999))
    prepare(source)
    after = {image: split for split, image, _ in written(source.parent / "out").values()}
    assert sum(after[image] != split for image, split in before.items()) <= 2


def test_the_same_folder_again_is_left_untouched(source: Path) -> None:
    assert "untouched" not in prepare(source)[0]
    assert prepare(source)[0]["untouched"]
    (source / "cat" / "0.JPG").unlink()
    with pytest.raises(UsageError, match="made of another input"):
        prepare(source)


def bad_files(source: Path) -> dict[str, str]:
    cat = source / "cat"
    (cat / "animated.gif").write_bytes(picture(1, "GIF"))
    (cat / "cmyk.jpg").write_bytes(picture(2, "JPEG", "CMYK"))
    (cat / "cut.png").write_bytes(picture(3)[:60])
    (cat / "empty.png").write_bytes(b"")
    (cat / "text.jpeg").write_text("no image")
    outside = source.parent / "outside.png"
    outside.write_bytes(picture(4))
    (cat / "link.png").symlink_to(outside)
    (cat / "loop").symlink_to(source)
    (cat / "broken.png").symlink_to(source / "nothing")
    os.mkfifo(cat / "pipe.png")
    return {
        "cat/animated.gif": "not a PNG or JPEG",
        "cat/cmyk.jpg": "CMYK",
        "cat/cut.png": "cannot be decoded",
        "cat/empty.png": "no bytes",
        "cat/text.jpeg": "not a PNG or JPEG",
        "cat/link.png": "leads out of the source",
        "cat/loop": "link to a folder",
        "cat/broken.png": "cannot be read",
        "cat/pipe.png": "no regular file",
    }


def test_bad_files_stop_it_each_with_name_and_reason(source: Path) -> None:
    expected = bad_files(source)
    with pytest.raises(DataError, match=r"9 bad files .*--skip-bad") as caught:
        prepare(source)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(expected)
    for name, reason in expected.items():
        assert any(f"{name}: " in line and reason in line for line in lines)
    assert not (source.parent / "out").exists()


def test_what_cannot_be_read_is_bad_with_its_reason(open_folder: Path, as_nobody: Callable) -> None:
    for name in ("cat/1.png", "cat/2.png", "cat/below/1.png", "dog/1.png"):
        (open_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (open_folder / name).write_bytes(picture(1))
    (open_folder / "cat" / "1.png").chmod(0)
    (open_folder / "cat" / "below").chmod(0)
    (open_folder / "dog").chmod(0o444)  # its list can be read, its files cannot
    with as_nobody():
        listing = list_images(open_folder)
        (batch,) = folder._batches(listing.candidates, listing.bad)
    assert [candidate.name for candidate, _ in batch] == ["cat/2.png"]
    assert listing.bad == {
        "cat/1.png": "cannot be read: Permission denied",
        "cat/below": "a folder that cannot be read: Permission denied",
        "dog/1.png": "cannot be read: Permission denied",
    }
    (open_folder / "dog").chmod(0o755)
    (open_folder / "cat" / "below").chmod(0o755)
    open_folder.chmod(0)
    with as_nobody(), pytest.raises(UsageError, match=r"--source: .*Permission denied"):
        list_images(open_folder)


def test_bad_files_are_left_out_when_asked(source: Path) -> None:
    expected = bad_files(source)
    _, findings = prepare(source, skip_bad=True)
    assert set(findings.bad) == set(expected)
    found = written(source.parent / "out")
    assert len(found) == 50
    assert not set(found) & set(expected)


def test_hidden_and_other_files_are_ignored_and_links_inside_followed(source: Path) -> None:
    (source / ".git").mkdir()
    (source / ".git" / "x.png").write_bytes(b"hidden")
    (source / "cat" / ".thumb.jpg").write_bytes(b"hidden")
    (source / "README.md").write_text("about")
    (source / "cat" / "notes.txt").write_text("about cats")
    (source / "dog" / "again.png").symlink_to(source / "dog" / "29.png")
    _, findings = prepare(source)
    assert findings.ignored == ["README.md", "cat/notes.txt"]
    assert findings.bad == {}
    assert findings.copies == {"dog/again.png": "dog/29.png"}


def test_copies_are_told_and_share_a_split(source: Path) -> None:
    for index in range(10, 20):
        shutil.copy(source / f"dog/{index}.png", source / f"dog/copy{index}.png")
    _, findings = prepare(source, eval_fraction=0.3, test_fraction=0.3)
    found = written(source.parent / "out")
    for index in range(10, 20):
        assert found[f"dog/copy{index}.png"][0] == found[f"dog/{index}.png"][0]
    assert findings.copies == {f"dog/copy{i}.png": f"dog/{i}.png" for i in range(10, 20)}


def test_the_same_pixels_in_other_bytes_are_copies_too(source: Path) -> None:
    for index in range(10, 20):
        with Image.open(source / f"dog/{index}.png") as image:
            image.save(source / f"dog/again{index}.png", compress_level=0)
        assert (source / f"dog/again{index}.png").read_bytes() != picture(100 + index)
    _, findings = prepare(source, eval_fraction=0.3, test_fraction=0.3)
    assert findings.copies == {f"dog/again{i}.png": f"dog/{i}.png" for i in range(10, 20)}
    found = written(source.parent / "out")
    for index in range(10, 20):
        assert found[f"dog/again{index}.png"][0] == found[f"dog/{index}.png"][0]
    with Image.open(source / "dog/29.png") as image:
        image.save(source / "cat/29.png", compress_level=0)
    with pytest.raises(DataError, match=r"cat/29\.png: the same image is in another class: dog"):
        folder.prepare(FolderConfig(), source, source.parent / "more")


def test_images_of_one_colour_and_another_shape_are_no_copies(source: Path) -> None:
    for shape in ((4, 6), (6, 4), (3, 8)):
        Image.new("RGB", shape, "red").save(source / f"dog/{shape[0]}.png")
    assert prepare(source)[1].copies == {}


def test_the_same_image_in_two_classes_is_bad(source: Path) -> None:
    (source / "cat" / "dog.png").write_bytes((source / "dog" / "29.png").read_bytes())
    with pytest.raises(DataError, match=r"cat/dog\.png: the same image is in another class: dog"):
        prepare(source)
    _, findings = prepare(source, skip_bad=True)
    assert set(findings.bad) == {"cat/dog.png", "dog/29.png"}
    assert len(written(source.parent / "out")) == 49


def test_classes_with_too_few_images_are_told(source: Path) -> None:
    (source / "bird").mkdir()
    (source / "bird" / "1.png").write_bytes(picture(500))
    with pytest.raises(DataError, match=r"at least 10 are needed, in: bird \(1\)"):
        prepare(source)
    for index in range(3):
        (source / "bird" / f"{index}.png").write_bytes(picture(500 + index))
    made, _ = prepare(source, min_per_class=3)
    assert made["splits"]["eval"]["per_class"][0] == 1
    assert folder.small_classes(made, 16) == ["bird (1)"]


def test_a_source_without_class_folders_is_told(source: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        list_images(source / "nothing")
    with pytest.raises(DataError, match="has no folders"):
        list_images(source / "cat")
    (source / "cat").rename(source / "train")
    (source / "dog").rename(source / "val")
    with pytest.raises(DataError, match="is split already"):
        list_images(source)


@pytest.mark.parametrize("name", ["two\nlines", " blank"])
def test_a_class_name_has_to_fit_into_a_line(source: Path, name: str) -> None:
    (source / "cat").rename(source / name)
    with pytest.raises(DataError, match="cannot be a class name"):
        list_images(source)


def test_a_file_that_changes_while_it_is_read_is_told(source: Path) -> None:
    findings = folder.inspect(list_images(source))
    (source / "cat" / "3.JPG").write_bytes(picture(77, "JPEG"))
    with pytest.raises(DataError, match=r"cat/3\.JPG changed"):
        list(folder._records(findings.images))


@pytest.mark.parametrize(
    "setting",
    [
        {"eval_fraction": 0.0},
        {"test_fraction": 1.0},
        {"min_per_class": 2},
        {"eval_fraction": 0.5, "test_fraction": 0.5},
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        FolderConfig(**setting)


def test_the_largest_size_of_an_image_can_be_set(source: Path) -> None:
    with pytest.raises(DataError, match=r"50 bad files .*--skip-bad") as caught:
        prepare(source, max_pixels=40)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 50, "every one is listed"
    assert all("pixels, more than the 40 allowed" in line for line in lines)
    prepare(source, max_pixels=70)
