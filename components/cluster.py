"""The processes that train together, as the environment variable TF_CONFIG names them.

Its form is TensorFlow's: `{"cluster": {"worker": ["host:port", ...]}, "task": {"type":
"worker", "index": 0}}`, the same cluster in every process. A `chief` is optional.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import UsageError

VARIABLE = "TF_CONFIG"
_ROLES = ("chief", "worker")
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """All processes, and which of them this one is.

    The chief is the one of type `chief`, or else worker 0: it runs the pipeline and writes.
    """

    addresses: Mapping[str, tuple[str, ...]]
    role: str
    index: int

    @property
    def size(self) -> int:
        """Number of processes."""
        return sum(len(addresses) for addresses in self.addresses.values())

    @property
    def is_chief(self) -> bool:
        """Whether this process is the chief."""
        return self.role == "chief" or ("chief" not in self.addresses and self.index == 0)

    @property
    def name(self) -> str:
        """This process, for people."""
        return f"{self.role} {self.index} of {self.size} processes"


def from_environment() -> Cluster:
    """The cluster of TF_CONFIG.

    Raises:
        UsageError: it is missing or not of TensorFlow's form.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        raise UsageError(f"trainer.strategy=multi_worker needs {VARIABLE}, such as {_EXAMPLE}")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"it is not JSON: {error}") from None
    return _checked(values)


def chief_from_environment() -> Cluster:
    """The same, for the process that runs the pipeline.

    Raises:
        UsageError: as above, or this process is not the chief.
    """
    cluster = from_environment()
    if not cluster.is_chief:
        raise UsageError(
            f"{VARIABLE} makes this process {cluster.name}, and the pipeline runs on the chief; "
            "here start: python -m components.worker WORKDIR/checkpoints"
        )
    return cluster


def _checked(values: Any) -> Cluster:
    cluster, task = (
        values.get(key) if isinstance(values, dict) else None for key in ("cluster", "task")
    )
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise _malformed("it needs the objects cluster and task")
    for role, addresses in cluster.items():
        if role not in _ROLES:
            raise _malformed(f"cluster names {role!r}; known are {', '.join(_ROLES)}")
        if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
            raise _malformed(f"cluster.{role} must be a list of host:port, got {addresses!r}")
    if len(cluster.get("chief", [])) > 1:
        raise _malformed("cluster.chief must be one address")
    role, index = task.get("type"), task.get("index")
    places = len(cluster.get(role, [])) if isinstance(role, str) else 0
    if type(index) is not int or not 0 <= index < places:
        raise _malformed(f"the cluster has no task of type {role!r} and index {index!r}")
    return Cluster({name: tuple(cluster[name]) for name in cluster}, str(role), index)


def _is_address(value: object) -> bool:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host and colon) and port.isdecimal()


def _malformed(what: str) -> UsageError:
    return UsageError(f"{VARIABLE}: {what}; expected such as {_EXAMPLE}")
