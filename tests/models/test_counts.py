"""Counts by arithmetic against TensorFlow's profiler and the layers themselves."""

import keras
import pytest
import tensorflow as tf

from models.config import ViTConfig
from models.counts import count, count_parts
from models.variants import variant
from models.vit import build_vit

BATCH = 2
CONFIGS = {
    "vit_tiny": variant("vit_tiny"),
    "vit_demo": variant("vit_demo"),
    "cct_3_3x2": variant("cct_3_3x2"),
    "vit_cifar": variant("vit_cifar"),
    "mean pooling": variant("vit_tiny", pooling="mean"),
    "no qkv bias": variant("vit_tiny", qkv_bias=False),
}
each = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def profiled_flops(model: keras.Model, config: ViTConfig) -> int:
    shape = (BATCH, config.image_size, config.image_size, 3)
    call = tf.function(lambda images: model(images, training=False))
    graph = call.get_concrete_function(tf.TensorSpec(shape)).graph
    profiler = tf.compat.v1.profiler
    builder = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    options = builder.with_empty_output().build()
    return profiler.profile(graph, options=options).total_float_ops


@each
def test_flops_agree_with_the_profiler(config: ViTConfig) -> None:
    profiled = profiled_flops(build_vit(config, 10, 0), config)
    assert BATCH * count(config, 10).flops == pytest.approx(profiled, rel=0.01)


@each
def test_weights_of_each_part_agree_with_its_layer(config: ViTConfig) -> None:
    model = build_vit(config, 10, 0)
    counted = {part.name: part.weights for part in count_parts(config, 10)}
    assert counted == {layer.name: layer.count_params() for layer in model.layers[1:]}


@each
def test_shape_of_each_part_agrees_with_its_layer(config: ViTConfig) -> None:
    model = build_vit(config, 10, 0)
    counted = {part.name: part.shape for part in count_parts(config, 10)}
    assert counted == {layer.name: layer.output.shape[1:] for layer in model.layers[1:]}


@each
def test_whole_is_the_sum_of_its_parts(config: ViTConfig) -> None:
    total, parts = count(config, 10), count_parts(config, 10)
    for name in ("weights", "multiply_adds", "elementwise", "flops"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    assert total.shape == (10,)


def test_batch_multiplies_arithmetic_but_not_weights() -> None:
    one = count(variant("vit_tiny"), 10)
    three = one.of_batch(3)
    assert (three.flops, three.multiply_adds) == (3 * one.flops, 3 * one.multiply_adds)
    assert (three.weights, three.shape) == (one.weights, (3, 10))


def test_multiply_adds_of_vit_b16_are_exact() -> None:
    total = count(variant("vit_b16"), 1000)
    assert (total.weights, total.multiply_adds) == (86_540_008, 17_563_828_224)


def test_flops_of_vit_b16_agree_with_the_profile_of_the_article() -> None:
    # 281,912,958,968 is what TensorFlow's profiler gives for the article's own program, batch 8.
    assert 8 * count(variant("vit_b16"), 1000).flops == pytest.approx(281_912_958_968, rel=0.01)
