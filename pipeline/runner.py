"""TFX's LocalDagRunner, telling about each component as it starts and ends."""

import time
from dataclasses import dataclass
from typing import Any

import ml_metadata as mlmd
from absl import logging
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from components import progress

Outputs = dict[str, list[Any]]
_RUN_ID = "pipeline-run-id"


@dataclass(frozen=True)
class Node:
    """How a component of a run ended: `state` is done, cached or failed."""

    name: str
    state: str
    seconds: float
    outputs: Outputs


class ObservedDagRunner(local_dag_runner.LocalDagRunner):
    """Runs the components one after the other; `nodes` has those that ended, in order.

    LocalDagRunner itself tells nobody which component runs or whether the cache was used.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id
        self.nodes: list[Node] = []

    def run_with_ir(
        self,
        pipeline: pipeline_pb2.Pipeline,
        run_options: pipeline_pb2.RunOptions | None = None,
    ) -> None:
        """Runs a compiled pipeline; the first component that fails ends it."""
        runtime_parameter_utils.substitute_runtime_parameter(pipeline, {_RUN_ID: self._run_id})
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        settings = deployment.metadata_connection_config
        connection = getattr(settings, settings.WhichOneof("connection_config"))
        for node in pipeline.nodes:
            self._run_node(pipeline, node.pipeline_node, deployment, connection)

    def _run_node(self, pipeline: Any, node: Any, deployment: Any, connection: Any) -> None:
        name, start = node.node_info.id, time.monotonic()
        progress.emit("component_started", name=name)
        logging.info("Component %s is running.", name)
        try:
            info = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
            state, outputs = _outcome(connection, info.execution_id)
        except BaseException:
            self._ended(Node(name, "failed", time.monotonic() - start, {}))
            raise
        self._ended(Node(name, state, time.monotonic() - start, outputs))
        if state == "failed":
            # A resolver that fails says so in the metadata only.
            raise RuntimeError(f"component {name} failed; its log says why")

    def _ended(self, node: Node) -> None:
        self.nodes.append(node)
        progress.emit("component_finished", name=node.name, state=node.state, seconds=node.seconds)


_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "done",
    metadata_store_pb2.Execution.CACHED: "cached",
}


def _outcome(connection: Any, execution_id: int) -> tuple[str, Outputs]:
    with metadata.Metadata(connection) as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
        outputs = handle.get_outputs_of_execution(execution_id) or {}
        state = _STATES.get(execution.last_known_state, "failed")
        if state == "done" and _resolves_as_before(handle.store, execution):
            state = "cached"
        return state, dict(outputs)


def _resolves_as_before(store: mlmd.MetadataStore, execution: Any) -> bool:
    """Whether a resolver, which has no cache, found what it had found before."""
    found = _resolved(store, execution.id)
    if not found:
        return False
    (kind,) = store.get_execution_types_by_id([execution.type_id])
    earlier = (item.id for item in store.get_executions_by_type(kind.name))
    return any(_resolved(store, item) == found for item in earlier if item < execution.id)


def _resolved(store: mlmd.MetadataStore, execution_id: int) -> set[tuple[str, int]]:
    events = store.get_events_by_execution_ids([execution_id])
    return {
        (event.path.steps[0].key, event.artifact_id)
        for event in events
        if event.type == metadata_store_pb2.Event.INTERNAL_OUTPUT
    }
