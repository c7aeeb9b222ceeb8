"""What a training leaves behind beside the model: history, curves, TensorBoard logs.

All of it lies in the Trainer's model_run artifact.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

HISTORY_FILE = "history.json"
CURVES_FILE = "curves.png"
PREDICTIONS_FILE = "predictions.npy"
CHECKPOINTS_FILE = "checkpoints.txt"


def write(directory: str, history: dict[str, list[float]]) -> None:
    """Writes the history as JSON, as a picture and as TensorBoard event files."""
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(os.path.join(directory, HISTORY_FILE), "w") as file:
        file.write(json.dumps(history, indent=1))
    _write_curves(os.path.join(directory, CURVES_FILE), history)
    _write_events(os.path.join(directory, "logs"), history)


def read_history(directory: str) -> dict[str, list[float]]:
    """The history that `write` wrote: a value an epoch, by metric."""
    with tf.io.gfile.GFile(os.path.join(directory, HISTORY_FILE)) as file:
        history: dict[str, list[float]] = json.loads(file.read())
    return history


def write_checkpoints(directory: str, checkpoints: str) -> None:
    """Says where the states lie that nobody needs once this artifact is in the metadata."""
    with tf.io.gfile.GFile(os.path.join(directory, CHECKPOINTS_FILE), "w") as file:
        file.write(checkpoints)


def read_checkpoints(directory: str) -> str:
    """The folder that `write_checkpoints` named."""
    with tf.io.gfile.GFile(os.path.join(directory, CHECKPOINTS_FILE)) as file:
        folder: str = file.read()
    return folder


def write_predictions(directory: str, probabilities: np.ndarray) -> None:
    """Keeps what the trained model said, (N, classes) float32, for the serving check."""
    with tf.io.gfile.GFile(os.path.join(directory, PREDICTIONS_FILE), "wb") as file:
        np.save(file, probabilities.astype(np.float32))


def read_predictions(directory: str) -> np.ndarray:
    """The probabilities that `write_predictions` kept."""
    with tf.io.gfile.GFile(os.path.join(directory, PREDICTIONS_FILE), "rb") as file:
        return np.load(file)


def _write_events(directory: str, history: dict[str, list[float]]) -> None:
    """Event files by TensorFlow's own writer; `tf.summary.scalar` needs TensorBoard installed."""
    for split, prefix in (("train", ""), ("eval", "eval_")):
        with tf.Graph().as_default():
            writer = tf.compat.v1.summary.FileWriter(os.path.join(directory, split))
        for name in ("loss", "top_1_accuracy", "top_5_accuracy"):
            for epoch, value in enumerate(history.get(prefix + name, []), start=1):
                entry = tf.compat.v1.Summary.Value(tag=name, simple_value=value)
                writer.add_summary(tf.compat.v1.Summary(value=[entry]), epoch)
        writer.close()


def _write_curves(path: str, history: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure  # only here: a second of import

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "top_5_accuracy"), strict=True):
        for label, key in (("train", name), ("eval", f"eval_{name}")):
            values = history.get(key, [])
            axes.plot(range(1, len(values) + 1), values, label=label, marker=".")
        axes.set(title=name, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / CURVES_FILE
        figure.savefig(picture, dpi=110)
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(picture.read_bytes())
