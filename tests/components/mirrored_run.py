"""Trains on two logical CPU devices: TensorFlow makes them only before it does anything else.

python -m tests.components.mirrored_run TASK.json

The training is broken off after its first epoch, and taken up again.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path


class BrokenOff(Exception):
    """What ends the first attempt."""


def break_off(event: str, values: dict[str, object]) -> None:
    if event == "epoch":
        raise BrokenOff


def main(path: str) -> None:
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, two)
    from components import distribution, progress
    from components.checkpoints import Checkpoints
    from components.task import read_task

    task = read_task(Path(path))
    with progress.listening(break_off), suppress(BrokenOff):
        distribution.train_mirrored(task)
    print("broken off after", Checkpoints(task.checkpoints).epochs, flush=True)
    distribution.train_mirrored(task)


if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)
