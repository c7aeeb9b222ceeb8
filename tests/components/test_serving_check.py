"""A model that TF Serving could not load, or that answers otherwise, is caught."""

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components import export, replay, serving_check
from components.feeding import Graph
from tests.components.conftest import Exported


@pytest.fixture(scope="module")
def expected(exported: Exported, graph: Graph) -> np.ndarray:
    """What the trained model itself says of the samples."""
    images, _ = graph.apply(tf.constant(exported.samples))
    return np.asarray(tf.nn.softmax(exported.model.predict_on_batch(images)))


def check(exported: Exported, expected: np.ndarray) -> dict[str, Any]:
    return serving_check.check(exported.directory, list(exported.samples), expected, 1e-5)


@pytest.fixture(scope="module")
def untracked(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The plain export of a Keras 3 model, whose variables TensorFlow does not follow."""
    model = exported.model

    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "images")])
        def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.map_fn(
                lambda image: tf.ensure_shape(
                    tf.image.resize(
                        tf.io.decode_image(image, 3, expand_animations=False), [32, 32]
                    ),
                    [32, 32, 3],
                ),
                images,
                fn_output_signature=tf.float32,
            )
            return {export.PROBABILITIES: tf.nn.softmax(model(pixels, training=False))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = {"image": tf.io.FixedLenFeature([], tf.string)}
            return self.serve_images(tf.io.parse_example(examples, spec)["image"])

    directory = str(tmp_path_factory.mktemp("untracked") / "model")
    plain = Plain()
    signatures = {"serving_default": plain.serve_examples, "serve_images": plain.serve_images}
    tf.saved_model.save(model, directory, signatures=signatures)
    return dataclasses.replace(exported, directory=directory)


def test_a_good_export_passes_both_loaders(exported: Exported, expected: np.ndarray) -> None:
    result = check(exported, expected)
    assert result["ok"] is True
    assert result["examples"] == len(expected) == 4
    assert result["max_difference"] < 1e-5
    assert "allowed 1e-05" in result["message"]


@pytest.fixture(scope="module")
def answers(exported: Exported) -> dict[str, replay.Replies]:
    """What both loaders say; in this process, as the test above starts fresh ones."""
    requests = serving_check.requests_for(exported.directory, list(exported.samples))
    return {
        name: load_and_ask(exported.directory, requests)
        for name, load_and_ask in replay.LOADERS.items()
    }


def test_each_loader_answers_both_signatures(
    answers: dict[str, replay.Replies], expected: np.ndarray
) -> None:
    assert set(answers) == set(serving_check.LOADERS)
    for replies in answers.values():
        assert set(replies) == {"serving_default", "serve_images"}
        for probabilities in replies.values():
            np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_the_keras_3_export_fault_is_caught(untracked: Exported, expected: np.ndarray) -> None:
    # Python's loader, with which the Evaluator loads, finds nothing wrong.
    in_python = tf.saved_model.load(untracked.directory)
    found = in_python.signatures["serving_default"](examples=tf.constant(untracked.samples))
    assert np.isfinite(found[export.PROBABILITIES]).all()
    result = check(untracked, expected)
    assert result["ok"] is False
    assert result["max_difference"] is None
    assert result["message"].startswith("tf1 loader: ")
    assert "Could not find variable" in result["message"]


def test_the_c_loader_catches_the_fault_by_itself(untracked: Exported) -> None:
    requests = serving_check.requests_for(untracked.directory, list(untracked.samples))
    with pytest.raises(RuntimeError, match="Could not find variable"):
        replay.ask_c_api(untracked.directory, requests)


@pytest.mark.parametrize("loader", serving_check.LOADERS)
@pytest.mark.parametrize("signature", ["serving_default", "serve_images"])
def test_other_answers_of_any_loader_are_refused_with_the_difference(
    loader: str, signature: str, answers: dict[str, replay.Replies], expected: np.ndarray
) -> None:
    changed = {name: dict(replies) for name, replies in answers.items()}
    changed[loader][signature] = expected.copy()
    changed[loader][signature][2, 3] += 0.25
    result = serving_check.compare(changed, expected, 1e-5)
    assert result["ok"] is False
    assert result["max_difference"] == pytest.approx(0.25, abs=1e-4)
    assert "difference from the trained model 0.25, allowed 1e-05" in str(result["message"])
    assert serving_check.compare(changed, expected, 0.26)["ok"] is True


@pytest.mark.parametrize("loader", serving_check.LOADERS)
@pytest.mark.parametrize("signature", ["serving_default", "serve_images"])
def test_an_answer_that_is_no_number_is_refused(
    loader: str, signature: str, answers: dict[str, replay.Replies], expected: np.ndarray
) -> None:
    changed = {name: dict(replies) for name, replies in answers.items()}
    changed[loader][signature] = np.full_like(expected, np.nan)
    result = serving_check.compare(changed, expected, 1e-5)
    assert result["ok"] is False
    assert "nan" in str(result["message"])


def test_the_reason_of_a_loader_that_failed_is_the_message(
    answers: dict[str, replay.Replies], expected: np.ndarray
) -> None:
    failed: dict[str, replay.Replies | str] = {**answers, "c_api": "RuntimeError: no such file"}
    result = serving_check.compare(failed, expected, 1e-5)
    assert result == {
        "ok": False,
        "examples": 4,
        "max_difference": None,
        "message": "c_api loader: RuntimeError: no such file",
    }


@pytest.mark.parametrize("loader", serving_check.LOADERS)
def test_the_program_says_in_its_last_line_why_it_could_not_load(
    loader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests, replies = tmp_path / "requests.npz", tmp_path / "replies.npz"
    np.savez(requests, **replay.pack({"serve_images": replay.Request("a:0", "b:0", [b"x"])}))  # type: ignore[arg-type]
    assert replay.main(str(tmp_path), loader, str(requests), str(replies)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"\w+: .*saved_?model", last, re.IGNORECASE)
    assert not replies.exists()


def test_requests_survive_the_way_through_a_file(tmp_path: Path) -> None:
    requests = {
        "a": replay.Request("in:0", "out:3", [b"", b"\0\0", b"x" * 1000]),
        "b": replay.Request("p", "q", []),
        "c": replay.Request("p", "q", [b""]),
    }
    np.savez(tmp_path / "r.npz", **replay.pack(requests))  # type: ignore[arg-type]
    with np.load(tmp_path / "r.npz", allow_pickle=False) as arrays:
        assert replay.unpack(dict(arrays)) == requests


def test_a_model_without_a_signature_is_refused(
    exported: Exported, expected: np.ndarray, tmp_path: Path
) -> None:
    served = tf.Module()
    function = tf.function(lambda x: {"y": x}, [tf.TensorSpec([None], tf.string, "x")])
    tf.saved_model.save(served, str(tmp_path), {"serving_default": function})
    with pytest.raises(KeyError, match="serve_images"):
        serving_check.requests_for(str(tmp_path), list(exported.samples))
    result = check(dataclasses.replace(exported, directory=str(tmp_path)), expected)
    assert result["ok"] is False
    assert result["message"] == "the model has no signature serve_images"


def test_a_folder_without_a_model_is_refused(
    exported: Exported, expected: np.ndarray, tmp_path: Path
) -> None:
    result = check(dataclasses.replace(exported, directory=str(tmp_path)), expected)
    assert result["ok"] is False
    assert str(result["message"]).startswith("the model cannot be read: ")
    (tmp_path / "saved_model.pb").write_bytes(b"no protocol buffer")
    result = check(dataclasses.replace(exported, directory=str(tmp_path)), expected)
    assert str(result["message"]).startswith("the model cannot be read: ")


def test_a_loader_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(program))
    monkeypatch.setattr(serving_check, "_SECONDS", 0.2)
    assert serving_check.ask("nowhere", "tf1", {}) == "no answer in 0.2 s"


def test_a_loader_that_dies_without_a_word_is_told_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(program))
    assert serving_check.ask("nowhere", "tf1", {}) == "exit code -9"
