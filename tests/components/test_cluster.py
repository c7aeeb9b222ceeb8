"""TF_CONFIG is understood, or refused with what is wrong in it."""

import json
import re
from typing import Any

import pytest

from components import cluster
from components.errors import UsageError

TWO = {"worker": ["a:1", "b:2"]}


def put(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setenv(cluster.VARIABLE, value if isinstance(value, str) else json.dumps(value))


def config(addresses: dict[str, list[str]], role: str, index: int) -> dict[str, Any]:
    return {"cluster": addresses, "task": {"type": role, "index": index}}


@pytest.mark.parametrize(
    ("addresses", "role", "index", "is_chief"),
    [
        (TWO, "worker", 0, True),
        (TWO, "worker", 1, False),
        ({"chief": ["c:3"], **TWO}, "chief", 0, True),
        ({"chief": ["c:3"], **TWO}, "worker", 0, False),
    ],
)
def test_the_chief_is_the_one_of_that_name_or_worker_0(
    addresses: dict[str, list[str]],
    role: str,
    index: int,
    is_chief: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(monkeypatch, config(addresses, role, index))
    found = cluster.from_environment()
    assert found.is_chief is is_chief
    assert found.size == sum(map(len, addresses.values()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "trainer.strategy=multi_worker needs TF_CONFIG"),
        ("{", "TF_CONFIG: it is not JSON"),
        ([1], "needs the objects cluster and task"),
        ({"cluster": TWO}, "needs the objects cluster and task"),
        (config({**TWO, "ps": ["c:3"]}, "worker", 0), "cluster names 'ps'"),
        (config({"worker": ["a"]}, "worker", 0), "cluster.worker must be a list of host:port"),
        (config({"worker": ["a:b"]}, "worker", 0), "cluster.worker must be a list of host:port"),
        ({"cluster": {"worker": "a:1"}, "task": {}}, "cluster.worker must be a list of host:port"),
        (config({"chief": ["a:1", "b:1"]}, "chief", 0), "cluster.chief must be one address"),
        (config(TWO, "worker", 2), "no task of type 'worker' and index 2"),
        (config(TWO, "worker", -1), "no task of type 'worker' and index -1"),
        (config(TWO, "chief", 0), "no task of type 'chief' and index 0"),
        ({"cluster": TWO, "task": {"type": ["worker"], "index": 0}}, "no task of type"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "0"}}, "no task of type"),
        ({"cluster": TWO, "task": {"type": "worker", "index": True}}, "no task of type"),
        ({"cluster": TWO, "task": {}}, "no task of type None"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(
    value: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, value)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        cluster.from_environment()
    assert '"task": {"type": "worker", "index": 0}' in str(caught.value)


def test_the_pipeline_runs_on_the_chief_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, config(TWO, "worker", 1))
    with pytest.raises(UsageError, match=r"worker 1 of 2 .* python -m components\.worker"):
        cluster.chief_from_environment()
    put(monkeypatch, config(TWO, "worker", 0))
    assert cluster.chief_from_environment().is_chief
