"""What happens after each step and each epoch of a training."""

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import progress as reporting
from components.callbacks import EpochKeeper, Evaluation, FiniteLoss, StepProgress
from components.checkpoints import MONITOR, Checkpoints, Progress

# Keras, of how it reads TensorFlow's variables to write them down.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

INPUTS = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
LABELS = np.arange(12) % 3
EVALUATION = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(4)


def make_model(rate: float = 1e-2) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(
        keras.optimizers.SGD(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="top_1_accuracy")],
    )
    return model


@pytest.fixture
def events() -> Any:
    """(event, values) in order, as a runner hears them."""
    heard: list[tuple[str, dict[str, Any]]] = []
    with reporting.listening(lambda event, values: heard.append((event, values))):
        yield heard


def evaluation(model: keras.Model) -> Evaluation:
    return functools.partial(model.evaluate, EVALUATION, return_dict=True, verbose=0)


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 1) -> None:
    model.fit(INPUTS, LABELS, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_with_step_and_rate(value: float) -> None:
    inputs = INPUTS.copy()
    inputs[5] = value  # in the second batch of four
    model = make_model(rate=0.125)
    with pytest.raises(FloatingPointError) as caught:
        model.fit(
            inputs,
            LABELS,
            batch_size=4,
            shuffle=False,
            epochs=3,
            verbose=0,
            callbacks=[FiniteLoss()],
        )
    message = str(caught.value)
    assert "the loss became nan at step 2 with learning rate 0.125" in message
    assert "lower optimizer.learning_rate" in message


def test_a_finite_loss_goes_on() -> None:
    model = make_model()
    fit(model, FiniteLoss(), epochs=2)
    assert int(model.optimizer.iterations) == 6


def test_the_best_weights_by_eval_accuracy_are_kept(
    tmp_path: Path, events: list[tuple[str, dict[str, Any]]]
) -> None:
    progress = Progress()
    model = make_model()
    after_each_epoch: list[list[np.ndarray]] = []

    class Shake(keras.callbacks.Callback):
        """Makes the epochs differ: good in the second, bad afterwards."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            if epoch == 1:
                solved, *_ = np.linalg.lstsq(INPUTS, 10 * np.eye(3)[LABELS], rcond=None)
                self.model.set_weights([solved.astype(np.float32), np.zeros(3, np.float32)])
            else:
                self.model.set_weights([np.zeros((5, 3)), -np.arange(3.0)])
            after_each_epoch.append(self.model.get_weights())

    keeper = EpochKeeper(evaluation(model), Checkpoints(str(tmp_path)), progress, 3)
    fit(model, Shake(), keeper, epochs=3)
    accuracies = progress.history[MONITOR]
    assert accuracies[1] == max(accuracies)
    assert accuracies[1] > max(accuracies[0], accuracies[2])
    assert progress.best is not None
    for kept, wanted in zip(progress.best, after_each_epoch[1], strict=True):
        np.testing.assert_array_equal(kept, wanted)
    restored = Checkpoints(str(tmp_path)).restore(make_model())
    assert restored.history == progress.history
    assert restored.best is not None
    np.testing.assert_array_equal(restored.best[0], after_each_epoch[1][0])


def test_an_epoch_is_told_with_its_metrics_once_its_checkpoint_is_there(tmp_path: Path) -> None:
    told: list[tuple[dict[str, Any], list[str]]] = []

    def listen(event: str, values: dict[str, Any]) -> None:
        if event == "epoch":
            told.append((values, [entry.name for entry in tmp_path.iterdir()]))

    model = make_model()
    keeper = EpochKeeper(evaluation(model), Checkpoints(str(tmp_path)), Progress(), 2)
    with reporting.listening(listen):
        fit(model, keeper, epochs=2)
    assert [names for _, names in told] == [["epoch-00001"], ["epoch-00002"]]
    assert [values["epoch"] for values, _ in told] == [1, 2]
    for values, _ in told:
        assert values["epochs"] == 2
        assert values["seconds"] > 0
        assert set(values["logs"]) == {
            "loss",
            "top_1_accuracy",
            "eval_loss",
            MONITOR,
            "seconds",
        }


def test_steps_are_told_with_place_and_metrics(events: list[tuple[str, dict[str, Any]]]) -> None:
    fit(make_model(), StepProgress(epochs=4))
    name, values = events[0]
    assert name == "step"
    assert (values["epoch"], values["epochs"], values["step"], values["steps"]) == (1, 4, 1, 3)
    assert set(values["logs"]) == {"loss", "top_1_accuracy"}
    assert all(isinstance(value, float) for value in values["logs"].values())


def test_events_without_a_runner_are_printed_but_not_each_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporting.emit("epoch", epoch=1, epochs=2)
    reporting.emit("step", step=1)
    assert capsys.readouterr().out == "epoch epoch=1 epochs=2\n"


def test_the_innermost_listener_hears_and_then_the_outer_one_again() -> None:
    outer: list[str] = []
    inner: list[str] = []
    with reporting.listening(lambda event, _: outer.append(event)):
        with reporting.listening(lambda event, _: inner.append(event)):
            reporting.emit("a")
        reporting.emit("b")
    assert (outer, inner) == (["b"], ["a"])
