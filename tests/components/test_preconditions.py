"""A training that cannot work is refused with what to do."""

import pytest

from components.errors import DataError, UsageError
from components.preconditions import few_steps, require_enough_for, require_trainable


@pytest.mark.parametrize(("images", "batch", "classes"), [(1, 1, 2), (128, 128, 2), (500, 1, 10)])
def test_enough_is_let_through(images: int, batch: int, classes: int) -> None:
    require_trainable(images, batch, classes)


def test_less_than_one_batch_is_refused_with_the_setting_that_helps() -> None:
    with pytest.raises(UsageError, match=r"has 127 images.*batch of 128.*trainer.batch_size=127"):
        require_trainable(127, 128, 10)


@pytest.mark.parametrize("classes", [0, 1])
def test_fewer_than_two_classes_are_refused(classes: int) -> None:
    with pytest.raises(DataError, match=f"two classes, got {classes}"):
        require_trainable(1000, 10, classes)


@pytest.mark.parametrize(("images", "batch", "epochs"), [(144, 128, 13), (99, 1, 1)])
def test_few_steps_are_told_with_what_to_do(images: int, batch: int, epochs: int) -> None:
    text = few_steps(images, batch, epochs)
    assert text is not None
    assert f"{-(-images // batch) * epochs} steps" in text
    assert "trainer.batch_size" in text


@pytest.mark.parametrize(("images", "batch", "epochs"), [(100, 1, 1), (2000, 64, 8)])
def test_enough_steps_need_no_word(images: int, batch: int, epochs: int) -> None:
    assert few_steps(images, batch, epochs) is None


def test_less_than_one_image_a_device_is_refused() -> None:
    require_enough_for(8, 8)
    with pytest.raises(UsageError, match=r"batch of 7 .* 8 devices.*trainer.batch_size=8"):
        require_enough_for(8, 7)
