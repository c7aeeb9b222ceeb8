"""The presets: whole configurations by name, each with what it was measured to do."""

from components.errors import UsageError
from components.settings import GateConfig, TrainerConfig
from models.optim import OptimizerConfig
from models.variants import variant
from pipeline.config import RunConfig

DEMO = RunConfig(
    model=variant("vit_demo"),
    optimizer=OptimizerConfig(learning_rate=3e-3),
    trainer=TrainerConfig(epochs=8, batch_size=64, augmentation="crop_flip"),
    gate=GateConfig(top_k_accuracy=0.9),
)
"""Ten kinds of generated shapes, to see the whole pipeline work.

    make run

2,000 images of 32 x 32, 2 cores, 2026-11-23: 1 min 28 s in all, 40 s of it the Trainer; top-1
99.75% on the 400 test images.
"""

SEED = RunConfig(
    model=variant("vit_cifar"),
    optimizer=OptimizerConfig(
        learning_rate=1e-3,
        weight_decay=1e-4,
        decay_all=True,
        schedule="constant",
        warmup_fraction=0.0,
    ),
    trainer=TrainerConfig(epochs=10, batch_size=256, augmentation="flip_rotate_zoom"),
    gate=GateConfig(top_k_accuracy=0.95),
)
"""The article's small ViT for CIFAR-10 with its own recipe.

    vitpipe run --preset seed --data work/data/cifar10

2 cores, 24 GiB, 2026-11-22, one run: test top-1 65.28%, top-5 97.18%; Trainer 63 min, with work of
lowest priority beside it. The article's own program reached 65.48% and 96.82%: 0.3 and 1.5 standard
errors of a difference between two such figures.
"""

CIFAR10 = RunConfig(
    model=variant("cct_3_3x2"),
    optimizer=OptimizerConfig(learning_rate=1.5e-3),
    trainer=TrainerConfig(epochs=13, batch_size=128, augmentation="crop_flip", label_smoothing=0.1),
    gate=GateConfig(top_k_accuracy=0.98),
)
"""The recommended recipe for CIFAR-10 on a machine without a GPU.

    vitpipe run --preset cifar10 --data work/data/cifar10

2 cores, 24 GiB, 2026-11-23, one run: test top-1 82.29%, top-5 99.00%, loss 0.572; 26 min in all,
of which the Trainer 24 min 38 s.
"""

PRESETS = {"demo": DEMO, "seed": SEED, "cifar10": CIFAR10}


def preset(name: str) -> RunConfig:
    """The preset called `name`; UsageError names those that exist."""
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
