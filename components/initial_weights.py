"""Fine-tuning: trained weights written beside an export, and put into a new model."""

import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from components import progress, weights_file
from components.versions import EXTRA_ASSETS
from components.weights_file import WeightsFile
from models.transfer import Transferred, transfer, weights_by_path
from models.vit import build_vit


def save(model: keras.Model, class_names: Sequence[str], export_dir: str) -> None:
    """Writes, into an export, what `load_into` reads; Keras loads it too."""
    # Without the optimizer, whose state is twice as large as the weights.
    bare = keras.Model(model.input, model.output, name=model.name)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, weights_file.NAME)
        bare.save(file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(weights_file.CLASS_NAMES, json.dumps(list(class_names)))
        extra = os.path.join(export_dir, EXTRA_ASSETS)
        tf.io.gfile.makedirs(extra)
        tf.io.gfile.copy(str(file), os.path.join(extra, weights_file.NAME), overwrite=True)


def load_into(model: keras.Model, class_names: Sequence[str], place: str) -> None:
    """Starts a model of `build_vit` from trained weights, and tells what was taken.

    The head is taken only if both have the same classes in the same order: as many other
    classes need another head just as well.

    Args:
        model: is changed.
        class_names: what its outputs stand for.
        place: a pushed version, a folder with the file, or the file.

    Raises:
        UsageError: there is no such file, or its model is another one.
    """
    file = weights_file.read(Path(place))
    weights_file.require_fit(file, model.get_layer("block_0").vit)
    trained = build_vit(file.config, file.classes)
    trained.load_weights(file.path)
    keep_head = file.class_names == tuple(class_names)
    done = transfer(weights_by_path(trained), model, keep_head)
    progress.emit("note", text=_told(file, done, keep_head))


def _told(file: WeightsFile, done: Transferred, keep_head: bool) -> str:
    parts = [f"starts from {file.path}: {len(done.copied)} of its weights are taken"]
    if done.resampled:
        before, after = done.resampled
        parts.append(f"positions resampled from {before} x {before} to {after} x {after}")
    if not keep_head:
        known = ", ".join(file.class_names[:5]) or "names unknown"
        parts.append(f"the head starts anew, as its classes were others ({known})")
    rest = [path for path in done.fresh if not path.startswith("head/")]
    if rest:
        parts.append(f"{', '.join(rest)} start anew, as it has none")
    return "; ".join(parts)
