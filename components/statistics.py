"""StatisticsGen: what every feature of every split looks like."""

from tfx import v1 as tfx


def statistics(examples: tfx.types.BaseChannel) -> tfx.components.StatisticsGen:
    """The node that computes TFDV statistics of `examples`."""
    return tfx.components.StatisticsGen(examples=examples)
