"""What each kind of model computes on the Keras backend at hand, from given weights.

A program too: `KERAS_BACKEND=jax python -m tests.models.one_step GIVEN.npz RESULT.npz`.
"""

import sys
from dataclasses import replace

import keras
import numpy as np

from models.losses import SmoothedCrossEntropy
from models.optim import OptimizerConfig, build_optimizer
from models.vit import build_vit
from tests.models.kinds import BASE, CONV

Arrays = dict[str, np.ndarray]

CLASSES = 7
STEPS = 3
# Few, as JAX compiles each; dropout is in none: its numbers are others on every backend.
COMPARED = {
    "patch stem, class token": replace(BASE, depth=1),
    "patch stem, mean": replace(BASE, depth=1, pooling="mean", qkv_bias=False),
    "two convolutions, sequence, gelu after both": replace(
        BASE, depth=1, **CONV, pooling="sequence", mlp_output_activation=True, norm_epsilon=0.1
    ),
    "one convolution, class token, gelu after both": replace(
        BASE,
        depth=1,
        stem="conv",
        stem_channels=(12,),
        patch_size=2,
        mlp_output_activation=True,
    ),
}
OPTIMIZED = "patch stem, class token"
RECIPE = OptimizerConfig(weight_decay=0.1, warmup_fraction=0.4, clipnorm=1.0)


def build(kind: str) -> keras.Model:
    return build_vit(COMPARED[kind], CLASSES)


def given() -> Arrays:
    """Images, labels, and for every kind random weights; gradients for the optimizer's steps."""
    random = np.random.default_rng(11)
    arrays = {
        "images": random.normal(size=(4, 8, 8, 3)).astype("float32"),
        "labels": random.integers(CLASSES, size=4),
    }
    for kind in COMPARED:
        for weight in build(kind).trainable_weights:
            value = random.normal(0.0, 0.5, weight.shape) + (weight.name == "gamma")
            arrays[f"{kind}:{weight.path}"] = value.astype("float32")
            gradients = random.normal(size=(STEPS, *weight.shape)).astype("float32")
            arrays[f"{kind}:{weight.path}:gradients"] = gradients
    return arrays


def compute(arrays: Arrays) -> Arrays:
    """Of every kind: the logits, the loss, its gradient, and the weights after the optimizer."""
    result = {"backend": np.array(keras.backend.backend())}
    for kind in COMPARED:
        model = compiled(kind)
        assign(model, arrays, kind)
        result[f"{kind}:logits"] = model.predict_on_batch(arrays["images"])
        result.update(gradient_step(model, arrays, kind))
    return {**result, **optimizer_steps(arrays)}


def compiled(kind: str) -> keras.Model:
    """With plain gradient descent at rate 1, so that a weight changes by its gradient."""
    model = build(kind)
    # The faster one for a single step: JAX would compile each operation by itself otherwise.
    eagerly = keras.backend.backend() == "tensorflow"
    loss = SmoothedCrossEntropy(0.1)
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=eagerly, jit_compile=not eagerly)
    return model


def assign(model: keras.Model, arrays: Arrays, kind: str) -> None:
    for weight in model.trainable_weights:
        weight.assign(arrays[f"{kind}:{weight.path}"])


def gradient_step(model: keras.Model, arrays: Arrays, kind: str) -> Arrays:
    """The loss, and by how much one step changes each weight."""
    loss = model.train_on_batch(arrays["images"], arrays["labels"])
    changes = {
        f"{kind}:{weight.path}:change": weight.numpy() - arrays[f"{kind}:{weight.path}"]
        for weight in model.trainable_weights
    }
    return {f"{kind}:loss": np.array(loss), **changes}


def optimizer_steps(arrays: Arrays) -> Arrays:
    """The weights of one model after the recipe's optimizer has had the given gradients.

    Given, because Adam divides a gradient by its own size: where it is all but 0, as that of the
    keys' bias is by its nature, the step would be rounding errors blown up.
    """
    model = build(OPTIMIZED)
    assign(model, arrays, OPTIMIZED)
    weights = model.trainable_weights
    optimizer = build_optimizer(RECIPE, STEPS, model)
    for step in range(STEPS):
        gradients = [arrays[f"{OPTIMIZED}:{weight.path}:gradients"][step] for weight in weights]
        optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], weights)
    return {f"optimized:{weight.path}": weight.numpy() for weight in weights}


def main(source: str, target: str) -> None:
    with np.load(source) as arrays:
        result = compute(dict(arrays))
    result["holds tensorflow"] = np.array("tensorflow" in sys.modules)
    np.savez(target, **result)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
