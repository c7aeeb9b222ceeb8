"""What a training is made of before it starts."""

from pathlib import Path
from typing import Any

import pytest

from components import progress, task
from tests.components.material import good_records, write_shard


@pytest.mark.parametrize(("share", "expected"), [(2.0, 10_000), (0.51, 20)])
def test_no_more_images_are_shuffled_among_than_fit_into_memory(
    share: float, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_shard(tmp_path / "s", good_records(40))
    size = Path(path).stat().st_size
    monkeypatch.setattr(task, "_SHUFFLE_BYTES", int(share * size))
    notes: list[dict[str, Any]] = []
    with progress.listening(lambda event, values: notes.append(values)):
        assert task._shuffle_buffer(10_000, [path], 40) == expected
        assert task._shuffle_buffer(7, [path], 40) == 7
    assert len(notes) == (expected < 40)
