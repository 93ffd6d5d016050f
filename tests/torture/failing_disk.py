"""Makes disks fail: at the n-th call that changes files for every n, at a file size limit, on a disk too small.

python -m tests.torture.failing_disk [PASSES] [SEED] [CALLS]

(Default: 1 pass over all calls. Each pass gives each call another error; CALLS is how many calls of each job fail,
chosen by the seed.)

After each failure the exit code must be 6 and the message name a path (or 0, where the call was not essential), no
incomplete run may exist, and the same commands must then end with the result of an undisturbed training, bit for bit.
"""

import errno
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic
from typing import cast

from tests.reliability import row
from tests.torture import toy
from tests.torture.calls import Calls, failing
from tests.torture.setting import codes_in
from tests.torture.toy import Toy, command, ending, forked, result_of

from tlcli.backbones.graph import GRAPH_FILES
from tlcli.errors import ResourceError
from tlcli.runs import folders as runs
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.files import whole_file

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ESTALE)
_IMAGES = 24
_SIZES = (100, 4_000, 30_000, 45_000, 60_000)
"""Bytes that RLIMIT_FSIZE allows a file; a shard has 41,000, the reference 66,000."""


@dataclass
class Outcome:
    """What became of the failures."""

    of: dict[str, Counter[str]] = field(default_factory=dict)
    """By what was tried: how it ended, how often."""

    def add(self, tried: str, ended: str) -> None:
        """Counts one."""
        self.of.setdefault(tried, Counter())[ended] += 1

    @property
    def count(self) -> int:
        """All failures."""
        return sum(ended.total() for ended in self.of.values())


def _ended(code: int, said: str, folder: Path) -> str:
    """Returns how a command ended; an error must have exit code 6 and name a path."""
    if code == 0:
        return "exit 0: the call was not essential, or never reached"
    assert code == 6, f"exit {code}: {said}"
    assert str(folder) in said, f"names no path: {said}"
    return f"exit 6, `{codes_in(said)[-1]}`, names the path"


def _at_every_call(
    outcome: Outcome, name: str, folder: Path, job: Callable[[], int], clear: Callable[[], None],
    said: Callable[[], str], check: Callable[[bool], object], choose: Callable[[int], Sequence[int]], seed: int,
    excluded: tuple[Path, ...] = (),
) -> None:  # fmt: skip
    """Fails the n-th call of a job, for all n that ``choose`` returns for their number.

    ``check`` returns the result of the job; with True it also checks that nothing else is left.
    """
    counter = folder / "calls"
    excluded = (*excluded, counter)

    def counted(at: int, number: int) -> int:
        calls = Calls(folder, at, failing(number), excluded)
        calls.watch()
        code = job()
        counter.write_text(str(calls.count))
        return code

    clear()
    assert ending(forked(partial(counted, 0, 0))) == 0, said()
    expected = check(True)
    for at in choose(int(counter.read_text())):
        number = ERRORS[(at + seed) % len(ERRORS)]
        what = f"seed {seed}, {name}, call {at}, {errno.errorcode[number]}"
        clear()
        code = ending(forked(partial(counted, at, number)))
        try:
            outcome.add(f"{name}: {errno.errorcode[number]} at a call", _ended(code, said(), folder))
            if code == 0:
                assert check(False) == expected, "another result"
            assert ending(forked(job)) == 0, said()
            assert check(True) == expected, "another result"
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


def trained(outcome: Outcome, choose: Callable[[int], Sequence[int]], seed: int) -> None:
    """Trains and evaluates."""
    toy.warm_up()
    with tempfile.TemporaryDirectory() as name:
        job = Toy(Path(name))
        toy.draw(job.folder, _IMAGES)
        job.install()

        whole: list[dict[str, str]] = []

        def check(tidy: bool) -> object:
            found = result_of(job.folder)
            rows = cast("dict[str, str]", found["rows"])
            if tidy:
                assert not list((job.folder / "runs").glob("*/*.partial"))
                whole.append(rows)
            else:  # a cache that could not be written was not used
                assert rows.items() <= whole[0].items()
                found["rows"] = whole[0]
            return found

        _at_every_call(
            outcome, "train and evaluate", job.folder, job.both, job.clear, lambda: _said(job.said), check, choose,
            seed, (job.counter, job.said),
        )  # fmt: skip
        expected = check(True)
        for size in _SIZES:
            job.clear()
            code = ending(forked(job.both, partial(_limit, size)))
            outcome.add("train and evaluate: RLIMIT_FSIZE", _ended(code, _said(job.said), job.folder))
            assert not runs.finished_runs(job.runs) or code == 0 or _whole_run(job)
            assert ending(forked(job.both)) == 0, _said(job.said)
            assert check(True) == expected


def _limit(size: int) -> None:
    """Limits the size of files from here on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _whole_run(job: Toy) -> bool:
    return ending(forked(partial(job.command, "evaluate"))) == 0


def _said(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def fetched(outcome: Outcome, choose: Callable[[int], Sequence[int]], seed: int) -> None:
    """Fetches from an archive on this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy.draw(folder, 8)
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for path in sorted((folder / "shapes").glob("*/*")):
                archive.write(path, path.relative_to(folder / "shapes").as_posix())
        before = {path.parent.name + path.name: path.read_bytes() for path in folder.glob("shapes/*/*")}
        config = folder / "f.yaml"
        config.write_text(f"dataset: {{path: {folder}/data, sources: [{{archive: {folder}/images.zip}}]}}\n")
        said = folder / "said.txt"

        def clear() -> None:
            for path in folder.glob("*data*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.rmtree(folder / "cache", ignore_errors=True)
            said.unlink(missing_ok=True)

        def check(tidy: bool) -> object:
            assert not tidy or not (folder / ".data.fetch").exists(), list((folder / ".data.fetch").iterdir())
            found = {path.parent.name + path.name: path.read_bytes() for path in folder.glob("data/*/*")}
            assert found == before
            return found

        _at_every_call(
            outcome, "fetch", folder, partial(command, said, "fetch", "--config", str(config)), clear,
            lambda: _said(said), check, choose, seed, (said,),
        )  # fmt: skip


def converted(outcome: Outcome, choose: Callable[[int], Sequence[int]], seed: int) -> None:
    """Creates a converted backbone in the cache, where an earlier one is damaged."""
    with tempfile.TemporaryDirectory() as name:
        folder, said = Path(name) / "backbones" / "net", Path(name) / "said.txt"

        def write(staging: Path) -> None:  # in reality a child process
            for name in GRAPH_FILES:
                with whole_file(staging / name) as temporary:
                    temporary.write_bytes(name.encode() * 1000)

        def job() -> int:
            try:
                assert is_whole(kept(folder, write, GRAPH_FILES), GRAPH_FILES)
            except (OSError, ResourceError) as error:
                code = error.code if isinstance(error, ResourceError) else "resource.system_error"
                said.write_text(f"Error [{code}]: {error}")
                return 6 if isinstance(error, ResourceError) or error.errno in ERRORS else 1
            return 0

        def clear() -> None:
            shutil.rmtree(folder.parent, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "model.xml").write_text("damaged")

        whole: list[dict[str, bytes]] = []

        def check(tidy: bool) -> object:
            if not tidy and not is_whole(folder, GRAPH_FILES):  # a cache that could not be written was not used
                return whole[0]
            assert is_whole(folder, GRAPH_FILES)
            whole.append({path.name: path.read_bytes() for path in folder.iterdir()})
            return whole[-1]

        _at_every_call(
            outcome, "converted backbone", Path(name), job, clear, lambda: _said(said), check, choose, seed, (said,)
        )  # fmt: skip


@contextmanager
def small_disk(size: str) -> Iterator[Path | None]:
    """Yields a disk of that size in memory; None where none can be mounted (that takes root)."""
    with tempfile.TemporaryDirectory() as name:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0
        try:
            yield Path(name) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "-l", name], check=True)


def on_small_disks(outcome: Outcome) -> bool:
    """Puts cache and runs on disks that are too small; returns False where none can be mounted."""
    toy.warm_up()
    for size in ("16k", "64k", "128k", "200k", "280k", "400k"):
        with small_disk(size) as disk:
            if disk is None:
                return False
            with tempfile.TemporaryDirectory() as name:
                job = Toy(Path(name))
                toy.draw(job.folder, _IMAGES)
                job.install()
                assert ending(forked(job.both)) == 0
                expected = result_of(job.folder)
                job.clear()
                for folder in (job.cache, job.runs):
                    (disk / folder.name).mkdir()
                    folder.symlink_to(disk / folder.name)
                code = ending(forked(job.both))
                outcome.add("train and evaluate: a disk too small", _ended(code, _said(job.said), job.folder))
                command = ["mount", "-o", "remount,size=64m", str(disk)]
                subprocess.run(command, check=True)
                assert ending(forked(job.both)) == 0, _said(job.said)
                assert result_of(job.folder) == expected
    return True


def run(passes: int, seed: int = 0, sample: int | None = None) -> tuple[Outcome, bool]:
    """Runs all jobs; ``sample`` is how many calls of each job fail, chosen by the seed, instead of every one.

    Returns:
        The outcome; whether small disks could be tried.
    """
    outcome = Outcome()

    def choose(calls: int) -> Sequence[int]:
        numbers = range(1, calls + 1)
        return numbers if sample is None else sorted(Random(seed).sample(numbers, min(sample, calls)))

    for number in range(passes):
        for trial in (trained, fetched, converted):
            trial(outcome, choose, seed + number)
    return outcome, on_small_disks(outcome)


def section(large: bool) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    outcome, disks = run(3 if large else 1, 0, None if large else 10)
    yield f"## Failing disks ({outcome.count})"
    yield ""
    yield "Each call that changes files (opening for writing, write, fsync, rename, mkdir, rmdir, unlink, symlink)"
    yield "fails in turn; files grow beyond a size limit (RLIMIT_FSIZE); the disk is too small. No later command"
    yield "accepts incomplete files, and the same commands then end with the result of an undisturbed training, bit for"
    yield "bit. `python -m tests.torture.failing_disk`"
    if not disks:
        yield "Disks too small were not tried: mounting one takes root."
    yield ""
    yield "| failure | outcome | times |"
    yield "| --- | --- | ---: |"
    for tried, ended in outcome.of.items():
        for how, times in ended.most_common():
            yield f"{row(tried, how)} {times} |"


def main() -> None:
    """Prints the outcomes."""
    numbers = [int(text) for text in sys.argv[1:]]
    passes, seed, sample = [*numbers, *(1, 0, 0)[len(numbers) :]]
    began = monotonic()
    outcome, disks = run(passes, seed, sample or None)
    for tried, ended in outcome.of.items():
        for how, times in ended.most_common():
            print(f"  {times:4} {tried}: {how}")
    print(f"{outcome.count} failures, seed {seed}; small disks {'tried' if disks else 'cannot be mounted here'}")
    print(f"({monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
