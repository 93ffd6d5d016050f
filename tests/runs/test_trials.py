"""Trials that outlive the process that scored them."""

import math
from pathlib import Path

import pytest

from tlcli.errors import UsageError
from tlcli.runs.trials import Trials, open_search


def test_what_was_scored_is_known_to_the_next_part(tmp_path: Path) -> None:
    first = Trials(tmp_path)
    assert first.get({"a": 1}) is None
    first.add({"a": 1}, (0.5, math.nan), 1.0)
    first.add({"a": 2}, (), 0.0)
    first.close()
    second = Trials(tmp_path)
    known = second.get({"a": 1})
    assert known is not None
    assert known.scores[0] == 0.5
    assert math.isnan(known.scores[1])
    assert (len(second), second.resumed) == (2, 1)
    assert second.get({"a": 1}) is not None
    assert second.resumed == 1
    second.close()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_a_kill_cut_off_is_written_again(tmp_path: Path, cut: int) -> None:
    first = Trials(tmp_path)
    for number in range(3):
        first.add({"number": number}, (float(number),), 0.0)
    first.close()
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    second = Trials(tmp_path)
    assert len(second) == 2
    second.add({"number": 2}, (2.0,), 0.0)
    second.close()
    third = Trials(tmp_path)
    assert [one.scores for one in third.all()] == [(0.0,), (1.0,), (2.0,)]
    third.close()


def test_the_same_search_has_the_same_folder_and_runs_once_at_a_time(tmp_path: Path) -> None:
    with open_search(tmp_path, "c", "ab" * 32) as (folder, trials):
        trials.add({"a": 1}, (1.0,), 0.0)
        with pytest.raises(UsageError) as caught, open_search(tmp_path, "c", "ab" * 32):
            pass
        assert caught.value.code == "usage.search_is_running"
        with open_search(tmp_path, "c", "cd" * 32) as (other, _):
            assert other != folder
    with open_search(tmp_path, "c", "ab" * 32) as (again, trials):
        assert (again, len(trials)) == (folder, 1)
