"""The baseline is the latest blessed model other than the candidate."""

from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from components.baseline import LatestOtherBlessedModel

STRATEGY = LatestOtherBlessedModel()


class Store:
    """Models and blessings as the metadata hand them to the strategy."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models: list[Any] = []
        self.blessings: list[Any] = []

    def add(self, number: int, blessed: int | None, present: bool = True) -> Any:
        """A model with this id; `blessed` None leaves out the blessing."""
        model = standard_artifacts.Model()
        model.id = number
        model.uri = str(self.root / str(number))
        if present:
            Path(model.uri).mkdir()
        self.models.append(model)
        if blessed is not None:
            blessing = standard_artifacts.ModelBlessing()
            blessing.id = 1000 + number
            blessing.set_int_custom_property("blessed", blessed)
            blessing.set_int_custom_property("current_model_id", number)
            self.blessings.append(blessing)
        return model

    def resolve(self, candidate: Any) -> tuple[list[int], list[int]]:
        given = {
            "candidate": [candidate],
            "model": self.models,
            "model_blessing": self.blessings,
        }
        found = STRATEGY.resolve_artifacts(None, given)
        assert set(found) == {"candidate", "model", "model_blessing"}
        assert found["candidate"] == [candidate]
        return [m.id for m in found["model"]], [b.id for b in found["model_blessing"]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_first_run_has_none(store: Store) -> None:
    assert store.resolve(store.add(1, None)) == ([], [])


def test_the_latest_blessed_one_is_taken_with_its_blessing(store: Store) -> None:
    # The metadata promise no order.
    for number in (2, 5, 3):
        store.add(number, 1)
    assert store.resolve(store.add(9, None)) == ([5], [1005])


def test_the_candidate_is_never_its_own_baseline(store: Store) -> None:
    store.add(2, 1)
    assert store.resolve(store.add(5, 1)) == ([2], [1002])


def test_a_rerun_finds_the_baseline_of_the_run_before(store: Store) -> None:
    store.add(2, 1)
    candidate = store.add(5, None)
    first = store.resolve(candidate)
    blessing = standard_artifacts.ModelBlessing()
    blessing.id = 1005
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_int_custom_property("current_model_id", 5)
    store.blessings.append(blessing)
    assert store.resolve(candidate) == first == ([2], [1002])


def test_a_refused_model_is_passed_over(store: Store) -> None:
    store.add(2, 1)
    store.add(5, 0)
    store.add(6, None)
    assert store.resolve(store.add(9, None)) == ([2], [1002])


def test_a_model_whose_files_are_gone_is_passed_over(store: Store) -> None:
    store.add(2, 1)
    store.add(5, 1, present=False)
    assert store.resolve(store.add(9, None)) == ([2], [1002])


def test_a_blessing_without_its_model_is_passed_over(store: Store) -> None:
    store.add(5, 1)
    store.models.clear()
    assert store.resolve(store.add(9, None)) == ([], [])


def test_without_any_candidate_the_latest_is_taken(store: Store) -> None:
    store.add(2, 1)
    given = {"candidate": [], "model": store.models, "model_blessing": store.blessings}
    assert [m.id for m in STRATEGY.resolve_artifacts(None, given)["model"]] == [2]
