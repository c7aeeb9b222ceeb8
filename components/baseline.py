"""The model that a candidate has to hold its own against: the latest blessed other one."""

from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts

_MODEL_ID, _BLESSED = "current_model_id", "blessed"
_Artifacts = dict[str, list[Any]]


class LatestOtherBlessedModel(resolver.ResolverStrategy):
    """Resolves the newest blessed model that is not the candidate and still exists.

    The stock strategy does not exclude the candidate. On a rerun that is the very model
    that was blessed before: it would be compared with itself, and miss the cache.
    """

    def resolve_artifacts(self, store: Any, input_dict: _Artifacts) -> _Artifacts:
        """Model ids grow, so the highest is the latest."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        blessed = {
            artifact.get_int_custom_property(_MODEL_ID): artifact
            for artifact in input_dict["model_blessing"]
            if artifact.get_int_custom_property(_BLESSED) == 1
        }
        eligible = [
            model
            for model in input_dict["model"]
            if model.id in blessed and model.id not in candidates and fileio.exists(model.uri)
        ]
        latest = sorted(eligible, key=lambda model: model.id)[-1:]
        return {
            "candidate": input_dict["candidate"],
            "model": latest,
            "model_blessing": [blessed[model.id] for model in latest],
        }


def baseline(candidate: tfx.types.BaseChannel) -> tfx.dsl.Resolver:
    """The node whose `model` output is the baseline, empty on a first run."""
    return tfx.dsl.Resolver(
        strategy_class=LatestOtherBlessedModel,
        candidate=candidate,
        model=tfx.dsl.Channel(type=standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("Baseline")
