"""Runs the Trainer's `run_fn` in a process of its own, on some number of logical CPU devices.

python -m tests.components.training_run ARGUMENTS.json DEVICES
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace


def main(arguments: str, devices: int) -> None:
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * devices
    )
    from components.training import run_fn

    run_fn(SimpleNamespace(**json.loads(Path(arguments).read_text())))


if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    main(sys.argv[1], int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)
