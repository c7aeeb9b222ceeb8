"""What a model keeps: its weights, its seed, its numbers when saved and loaded."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.config import ViTConfig
from models.variants import VARIANTS, variant
from models.vit import build_vit

SMALL = {
    "class token": variant("vit_tiny"),
    "conv stem, sequence pooling": variant("vit_demo", depth=1, width=16, stem_channels=(8, 16)),
    "article's options": variant("vit_tiny", depth=1, qkv_bias=False,
                                 mlp_output_activation=True, dropout=0.1, embedding_dropout=0.1,
                                 attention_dropout=0.1, projection_dropout=0.1),
}  # fmt: skip
# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept")
each_kind = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)


def images(config: ViTConfig, count: int = 4) -> np.ndarray:
    shape = (count, config.image_size, config.image_size, 3)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def embedding_weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {w.name: w.numpy() for w in model.get_layer("embedding").trainable_weights}


def train(model: keras.Model, config: ViTConfig) -> None:
    """One step of Adam, without the seconds that compiling it would take."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(np.arange(4), model(images(config), training=True))
    weights = model.trainable_variables
    keras.optimizers.Adam(0.01).apply(tape.gradient(value, weights), weights)


@each_kind
def test_saved_model_gives_the_same_logits(config: ViTConfig, tmp_path: Path) -> None:
    model = build_vit(config, 5, 3)
    train(model, config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = images(config)
    np.testing.assert_array_equal(model(x), loaded(x))


@each_kind
def test_config_round_trip_keeps_every_layer_setting(config: ViTConfig) -> None:
    model = build_vit(config, 5, 3)
    again = keras.Model.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    again.set_weights(model.get_weights())
    x = images(config)
    np.testing.assert_array_equal(model(x), again(x))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "vit_b16"])
def test_every_variant_runs(name: str) -> None:
    config = variant(name, depth=1)
    logits = np.array(build_vit(config, 5, 0)(images(config, 2)))
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


@each_kind
def test_exported_model_serves_the_same_logits(config: ViTConfig, tmp_path: Path) -> None:
    model = build_vit(config, 5, 3)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    x = images(config)
    np.testing.assert_allclose(served.serve(x), model(x), rtol=1e-5, atol=1e-6)


def test_class_token_and_positions_are_trained_and_restored(tmp_path: Path) -> None:
    config = SMALL["class token"]
    model = build_vit(config, 5, 3)
    before = embedding_weights(model)
    train(model, config)
    after = embedding_weights(model)
    assert set(after) == {"class_token", "positions"}
    assert all((before[name] != after[name]).all() for name in after)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = build_vit(config, 5, 4)
    fresh.load_weights(tmp_path / "model.weights.h5")
    for name, value in embedding_weights(fresh).items():
        np.testing.assert_array_equal(value, after[name])


@each_kind
def test_gradient_reaches_every_weight(config: ViTConfig) -> None:
    model = build_vit(config, 5, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(images(config)) - 1.0))
    gradients = tape.gradient(loss, model.trainable_variables)
    names = [weight.path for weight in model.trainable_variables]
    still = [n for n, g in zip(names, gradients, strict=True) if not np.abs(np.array(g)).max() > 0]
    assert still == []


@each_kind
def test_mixed_precision_keeps_weights_and_logits_in_float32(config: ViTConfig) -> None:
    full = build_vit(config, 5, 3)
    mixed = build_vit(config, 5, 3, "mixed_bfloat16")
    assert mixed.get_layer("block_0").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in mixed.weights if "seed" not in weight.path} == {"float32"}
    x = images(config)
    logits = mixed(x)
    assert logits.dtype == tf.float32
    scale = np.abs(full(x)).max()
    np.testing.assert_allclose(logits, full(x), atol=0.05 * scale)
    train(mixed, config)
    assert np.isfinite(mixed(x)).all()


def test_mixed_precision_survives_saving(tmp_path: Path) -> None:
    config = SMALL["class token"]
    model = build_vit(config, 5, 3, "mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("block_1").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(model(images(config)), loaded(images(config)))


@each_kind
def test_compiled_with_xla_gives_the_same_logits(config: ViTConfig) -> None:
    model = build_vit(config, 5, 3)
    x = images(config)
    compiled = tf.function(lambda batch: model(batch, training=False), jit_compile=True)
    np.testing.assert_allclose(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_models() -> None:
    first, second, other = (build_vit(SMALL["class token"], 5, seed) for seed in (3, 3, 4))
    x = images(SMALL["class token"])
    np.testing.assert_array_equal(first(x), second(x))
    assert np.abs(np.array(first(x)) - np.array(other(x))).max() > 1e-3


def test_no_two_parts_start_alike() -> None:
    model = build_vit(SMALL["class token"], 5, 3)
    kernels = [w.numpy().ravel()[:8] for w in model.trainable_weights if w.name == "kernel"]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 10


def test_dropout_acts_in_training_only() -> None:
    config = SMALL["article's options"]
    model = build_vit(config, 5, 3)
    x = images(config)
    np.testing.assert_array_equal(model(x, training=False), model(x, training=False))
    assert np.abs(np.array(model(x, training=True)) - np.array(model(x, training=True))).max() > 0


@pytest.mark.parametrize(
    ("classes", "seed", "message"), [(1, 0, "num_classes: expected at least 2"), (2, -1, "seed")]
)
def test_impossible_model_is_refused(classes: int, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_vit(SMALL["class token"], classes, seed)


def test_patches_are_mapped_by_what_a_dense_layer_would_start_with() -> None:
    kernel = build_vit(variant("vit_cifar"), 10).get_layer("stem").projection.kernel.numpy()
    limit = np.sqrt(6 / (6 * 6 * 3 + 64))
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
