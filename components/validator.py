"""ExampleValidator: holds the statistics against the schema.

It never fails by itself; the validation gate reads what it found.
"""

from tfx import v1 as tfx


def validator(
    statistics: tfx.types.BaseChannel, schema: tfx.types.BaseChannel
) -> tfx.components.ExampleValidator:
    """The node that writes the anomalies of every split."""
    return tfx.components.ExampleValidator(statistics=statistics, schema=schema)
