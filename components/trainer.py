"""Trainer: runs `components.training.run_fn` by import path."""

from typing import Any

from tfx import v1 as tfx

from components import digests


def trainer(
    examples: tfx.types.BaseChannel,
    transform_graph: tfx.types.BaseChannel,
    schema: tfx.types.BaseChannel,
    custom_config: dict[str, Any],
) -> tfx.components.Trainer:
    """The node that trains and exports.

    Args:
        examples: the validated, encoded examples.
        transform_graph: applied to them.
        schema: carries the class names.
        custom_config: what `components.training.run_fn` reads.
    """
    digest = digests.source_digest("components.training")
    return tfx.components.Trainer(
        run_fn="components.training.run_fn",
        examples=examples,
        transform_graph=transform_graph,
        schema=schema,
        custom_config={**custom_config, "source_digest": digest},
        # Epochs decide how long it trains, not steps: 0 means no limit.
        train_args=tfx.proto.TrainArgs(num_steps=0),
        eval_args=tfx.proto.EvalArgs(num_steps=0),
    )
