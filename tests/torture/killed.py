"""Kills trainings and evaluations (kill -9) and lets the next ones finish their work.

python -m tests.torture.killed [KILLS] [SEED]    (default: 60 kills; from 300 on, 20 more are of the real commands)

Half of the kills hit at a random moment of ``tlcli train`` or ``tlcli evaluate`` (see :mod:`tests.torture.toy`: only
the backbone is not real), half right before a call that changes files, these calls in turn. After each, the same
commands must end with the result of an undisturbed training, bit for bit, and have computed again no more than one
shard of features and the images that were being computed. The real commands, with a real backbone, run as separate
processes.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.torture import toy
from tests.torture.calls import Calls, die
from tests.torture.toy import Toy, ending, forked, result_of

from tlcli.features.pipeline import SHARD_ROWS
from tlcli.runs import folders as runs
from tlcli.workflows.runs import list_runs

_REAL_FROM = 300
_REAL = 20


@dataclass
class Outcome:
    """The outcomes of the kills."""

    moments: Counter[str] = field(default_factory=Counter)
    """What was interrupted, how often."""
    again: list[int] = field(default_factory=list)
    """Images computed again after each kill."""


def _moment(folder: Path, rows: int) -> str:
    """Returns what was interrupted, judged by what it left; checks that no incomplete run is listed."""
    listed = list_runs(folder / "runs")
    assert not listed.broken, listed.broken
    if finished := runs.finished_runs(folder / "runs"):
        assert len(finished) == len(listed.runs) == 1
        return "evaluating" if listed.runs[0].test is None else "after evaluating"
    assert not (folder / "runs" / "latest").is_dir()
    partial = next((folder / "runs").glob("*/*.partial"), None)
    if partial is None:
        return "before the run's folder exists"
    if any(partial.iterdir()):
        return "writing the run"
    stored = len(list((folder / "cache" / "features").glob("*/*.safetensors")))
    if stored == 0:
        return "reading digests, or before the first shard"
    return "computing features" if stored < -(-rows // toy.SHARD) else "fitting the head"


def run(kills: int, seed: int = 0, folder: Path | None = None) -> Outcome:
    """Kills that often; raises AssertionError where the result of the next training differs."""
    toy.warm_up()
    chance, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        job = Toy(Path(name))
        toy.draw(job.folder)
        ending(forked(job.both, job.install))
        job.clear()
        began = monotonic()
        assert ending(forked(job.both, job.install)) == 0, job.said.read_text()
        whole, expected, rows = monotonic() - began, result_of(job.folder), job.computed
        calls = _calls(job)
        for number in range(kills):
            job.clear()
            _kill(job, chance.uniform(0, whole) if number % 2 else None, 1 + (number // 2 * 7919 + seed) % calls)
            outcome.moments[_moment(job.folder, rows)] += 1
            assert ending(forked(job.both, job.install)) == 0, f"seed {seed}, kill {number}: {job.said.read_text()}"
            assert result_of(job.folder) == expected, f"seed {seed}, kill {number}: another result"
            outcome.again.append(job.computed - rows)
            assert outcome.again[-1] <= toy.MOST_LOST, f"seed {seed}, kill {number}: {outcome.again[-1]} computed again"
    return outcome


def _calls(job: Toy) -> int:
    """Returns the number of calls that change files in a training and its evaluation."""
    job.clear()
    count = job.folder / "count"

    def counted() -> int:
        calls = Calls(job.folder, 0, die, (job.counter, job.said, count))
        calls.watch()
        code = job.both()
        count.write_text(str(calls.count))
        return code

    assert ending(forked(counted, job.install)) == 0
    return int(count.read_text())


def _kill(job: Toy, after: float | None, at: int) -> None:
    """Kills a training with its evaluation after some seconds, or else at a call."""
    calls = Calls(job.folder, at, die, (job.counter, job.said))

    def watched() -> int:
        if after is None:
            calls.watch()
        return job.both()

    process = forked(watched, job.install)
    if after is not None:
        sleep(after)
        os.kill(process, 9)
    assert ending(process) in (-9, 0), job.said.read_text()


def run_real(kills: int, seed: int = 0, folder: Path | None = None, cache: Path | None = None) -> Outcome:
    """Kills the real commands; the converted backbone stays between them. See :func:`run`."""
    chance, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        home = Path(name)
        toy.draw(home)
        config = (home / "shapes.yaml").read_text().replace("  engine: keras\n", "")
        (home / "shapes.yaml").write_text(config)
        if cache is not None:
            shutil.copytree(cache, home / "cache")
        assert _command(home, "train").wait(300) == 0  # converts the backbone
        _clear(home)
        began = monotonic()
        assert _command(home, "train").wait(300) == 0
        whole = monotonic() - began
        assert _command(home, "evaluate").wait(300) == 0
        expected = result_of(home)
        for number in range(kills):
            _clear(home)
            process = _command(home, "train")
            sleep(chance.uniform(0, whole))
            process.kill()
            process.wait()
            outcome.moments["the real command"] += 1
            for command in ("train", "evaluate"):
                assert _command(home, command).wait(300) == 0, f"seed {seed}, kill {number}"
            assert result_of(home) == expected, f"seed {seed}, kill {number}: another result"
    return outcome


def _command(home: Path, name: str) -> "subprocess.Popen[bytes]":
    chosen = ["--config", "shapes.yaml"] if name == "train" else []
    command = [sys.executable, "-m", "tlcli", name, *chosen, "--quiet"]
    return subprocess.Popen(command, cwd=home, env={**os.environ, "TLCLI_CACHE": str(home / "cache")})


def _clear(home: Path) -> None:
    for path in (home / "runs", home / "cache" / "features"):
        shutil.rmtree(path, ignore_errors=True)


def section(large: bool) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    kills, real = (1000, _REAL) if large else (16, 0)
    outcome = run(kills)
    yield f"## Killed while training and evaluating ({kills + real})"
    yield ""
    yield f"`tlcli train` and `tlcli evaluate` are killed (kill -9) {kills} times, half at random moments, half right"
    yield "before a call that changes files; only the backbone is not real (its features are computed from the pixels),"
    yield f"and a shard of features holds {toy.SHARD} rows instead of {SHARD_ROWS}. The next train and evaluate end"
    yield "with the head, features, predictions and metrics of an undisturbed training, bit for bit."
    if real:
        run_real(real)
        yield f"Another {real} kills are of the real train with a real backbone (MobileNetV2, random weights)."
    yield f"`python -m tests.torture.killed {kills}`"
    yield ""
    yield "| killed while | times | next train and evaluate | images computed again, at most |"
    yield "| --- | ---: | --- | ---: |"
    most = max(outcome.again)
    for moment, times in outcome.moments.most_common():
        yield f"| {moment} | {times} | equal bit for bit | {most} (allowed: {toy.MOST_LOST}) |"
    if real:
        yield f"| the real train, at any moment | {real} | equal bit for bit | not counted |"


def main() -> None:
    """Prints the outcomes."""
    numbers = [int(text) for text in sys.argv[1:]]
    kills, seed = [*numbers, *(60, 0)[len(numbers) :]]
    began = monotonic()
    outcome = run(kills, seed)
    if kills >= _REAL_FROM:
        outcome.moments += run_real(_REAL, seed).moments
    print(
        f"{outcome.moments.total()} kills, seed {seed}, each followed by an equal result ({monotonic() - began:.0f} s)"
    )
    for moment, count in outcome.moments.most_common():
        print(f"  {count:4} {moment}")
    print(f"computed again: {max(outcome.again)} images at most, {toy.MOST_LOST} are allowed")


if __name__ == "__main__":
    main()
