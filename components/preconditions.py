"""What a data set must have to be trained on; cheap, so that it is asked before anything runs."""

from components.errors import DataError, UsageError

_FEW_STEPS = 100


def few_steps(images: int, batch_size: int, epochs: int) -> str | None:
    """A word of warning where a model cannot have learnt much by the end."""
    steps = -(-images // batch_size) * epochs
    if steps >= _FEW_STEPS:
        return None
    return (
        f"{images} training images in batches of {batch_size} are {steps} steps in all, which is "
        "few: lower trainer.batch_size or raise trainer.epochs"
    )


def require_trainable(images: int, batch_size: int, classes: int) -> None:
    """Refuses a training that cannot work.

    Args:
        images: in the training split.
        batch_size: images a step.
        classes: number of classes.

    Raises:
        UsageError: the split does not fill one batch.
        DataError: there is nothing to tell apart.
    """
    if classes < 2:
        raise DataError(f"expected at least two classes, got {classes}: there is nothing to learn")
    if images < batch_size:
        raise UsageError(
            f"the training split has {images} images, less than one batch of {batch_size}: "
            f"add images or use --set trainer.batch_size={images}"
        )


def require_enough_for(devices: int, batch_size: int) -> None:
    """Refuses a batch that is not one image for each device.

    Raises:
        UsageError: it is smaller.
    """
    if batch_size < devices:
        raise UsageError(
            f"a batch of {batch_size} is not one image for each of {devices} devices: "
            f"use --set trainer.batch_size={devices} or more"
        )
