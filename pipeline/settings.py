"""From preset, file and `--set` to one checked configuration."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import RunConfig, from_values, parse_settings, read_yaml
from pipeline.presets import preset


def resolve(
    name: str, file: Path | None, settings: Sequence[str], max_bad_records: int | None = None
) -> RunConfig:
    """The preset, with the file's fields over it, and the single settings over those.

    Raises:
        UsageError: anything unknown, ill-typed or out of range.
    """
    config = preset(name)
    if file is not None:
        config = from_values(read_yaml(file), config)
    config = from_values(parse_settings(settings), config)
    if max_bad_records is not None:
        config = from_values({"validation": {"max_bad_records": max_bad_records}}, config)
    return _with_absolute_paths(config)


def _with_absolute_paths(config: RunConfig) -> RunConfig:
    """The weights to start from are found from any directory: by a resumed run, in its record."""
    if not config.trainer.init_from:
        return config
    path = os.path.abspath(os.path.expanduser(config.trainer.init_from))
    return from_values({"trainer": {"init_from": path}}, config)
