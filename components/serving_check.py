"""The serving check: loads the exported model as TF Serving does, before it is pushed.

The Evaluator loads models with TensorFlow's Python loader, TF Serving with the C++ one; there
are exports that pass the first and fail the second. Two fresh processes load the model here,
one through the TF1 loader, one through the C API (`TF_LoadSessionFromSavedModel`), and
answer real examples; both have to say what the trained model said.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components import contract, digests, export, replay, run_record, tfrecords
from components.settings import ServingCheckConfig

LOADERS = ("tf1", "c_api")
RESULT_FILE = "result.json"
_SECONDS = 600


@component
def ServingCheck(
    model: tfx.dsl.components.InputArtifact[standard_artifacts.Model],
    model_run: tfx.dsl.components.InputArtifact[standard_artifacts.ModelRun],
    examples: tfx.dsl.components.InputArtifact[standard_artifacts.Examples],
    blessing: tfx.dsl.components.OutputArtifact[standard_artifacts.InfraBlessing],
    replayed: tfx.dsl.components.Parameter[int],
    tolerance: tfx.dsl.components.Parameter[float],
    source_digest: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes INFRA_BLESSED or INFRA_NOT_BLESSED, as InfraValidator does, and the result."""
    expected = run_record.read_predictions(model_run.uri)[:replayed]
    split_uri = artifact_utils.get_split_uri([examples], contract.EVAL)
    serialized = tfrecords.first(tfrecords.shard_paths(split_uri), len(expected))
    result = check(path_utils.serving_model_path(model.uri), serialized, expected, tolerance)
    marker = "INFRA_BLESSED" if result["ok"] else "INFRA_NOT_BLESSED"
    with fileio.open(os.path.join(blessing.uri, marker), "w") as file:
        file.write("")
    blessing.set_int_custom_property("blessed", int(bool(result["ok"])))
    blessing.set_string_custom_property("current_model_uri", model.uri)
    with fileio.open(os.path.join(blessing.uri, RESULT_FILE), "w") as file:
        file.write(json.dumps(result))


def check(
    directory: str, serialized: list[bytes], expected: np.ndarray, tolerance: float
) -> dict[str, object]:
    """Loads and asks the model in fresh processes.

    Args:
        directory: the SavedModel.
        serialized: N serialized examples.
        expected: (N, classes) probabilities of the trained model for them.
        tolerance: largest absolute difference.

    Returns:
        `ok`, `examples`, `max_difference`, `message`.
    """
    try:
        requests = requests_for(directory, serialized)
    except KeyError as error:
        return _result(False, len(expected), None, f"the model has no {error.args[0]}")
    except (OSError, DecodeError) as error:
        return _result(False, len(expected), None, f"the model cannot be read: {error}")
    with ThreadPoolExecutor(len(LOADERS)) as pool:
        answers = dict(
            zip(
                LOADERS,
                pool.map(lambda loader: ask(directory, loader, requests), LOADERS),
                strict=True,
            )
        )
    return compare(answers, expected, tolerance)


def compare(
    answers: Mapping[str, replay.Replies | str], expected: np.ndarray, tolerance: float
) -> dict[str, object]:
    """Holds each loader's probabilities, or its reason for having none, against `expected`."""
    differences = []
    for loader, answer in answers.items():
        if isinstance(answer, str):
            return _result(False, len(expected), None, f"{loader} loader: {answer}")
        differences += [np.abs(found - expected).max() for found in answer.values()]
    # NumPy's, because Python's loses a NaN that does not come first.
    difference = float(np.max(differences))
    ok = difference <= tolerance
    text = f"largest difference from the trained model {difference:.2g}, allowed {tolerance:.2g}"
    return _result(ok, len(expected), difference, text)


def requests_for(directory: str, serialized: list[bytes]) -> replay.Requests:
    """The same records, asked of both signatures that answer; KeyError where one is missing."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(Path(directory, "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    encoded = [tfrecords.encoded_image(item) for item in serialized]
    requests = {}
    for name, key, inputs in (
        (export.SERVE_EXAMPLES, "examples", serialized),
        (export.SERVE_IMAGES, "images", encoded),
    ):
        if name not in signatures:
            raise KeyError(f"signature {name}")
        entry = signatures[name]
        requests[name] = replay.Request(
            entry.inputs[key].name, entry.outputs[export.PROBABILITIES].name, inputs
        )
    return requests


def _result(ok: bool, examples: int, difference: float | None, message: str) -> dict[str, object]:
    return {"ok": ok, "examples": examples, "max_difference": difference, "message": message}


def ask(directory: str, loader: str, requests: replay.Requests) -> replay.Replies | str:
    """Probabilities (N, classes) by signature from a fresh process, or what went wrong there."""
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "requests.npz"), Path(scratch, "replies.npz")
        np.savez(asked, allow_pickle=False, **replay.pack(requests))
        command = [
            sys.executable,
            "-m",
            "components.replay",
            directory,
            loader,
            str(asked),
            str(answered),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {_SECONDS} s"
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        with np.load(answered) as arrays:
            return dict(arrays)


def serving_check(
    model: tfx.types.BaseChannel,
    model_run: tfx.types.BaseChannel,
    examples: tfx.types.BaseChannel,
    config: ServingCheckConfig,
) -> tfx.types.BaseChannel:
    """The node between Evaluator and Pusher."""
    return ServingCheck(
        model=model,
        model_run=model_run,
        examples=examples,
        replayed=config.examples,
        tolerance=config.tolerance,
        source_digest=digests.source_digest(__name__),
    )
