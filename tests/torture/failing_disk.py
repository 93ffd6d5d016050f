"""Makes disks fail: at the n-th call that changes files for every n, at a limit of the system, on a small disk.

python -m tests.torture.failing_disk [PASSES] [SEED] [CALLS]

(Default: 1 pass over all calls. Each pass gives each call another error; CALLS is how many of each job fail, chosen by
the seed.)

After each failure the exit code must be 6 and the message name a path (or 0, where only a convenience failed), no run
may be there that is not whole, and the same commands must then end with the result of a training that was not
disturbed, bit for bit.
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
from tests.torture.toy import Toy, command, ending, forked, result_of

from tlcli.backbones.conversion import is_whole, kept
from tlcli.errors import ResourceError
from tlcli.runs import folders as runs
from tlcli.system.files import whole_file

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ESTALE)
_IMAGES = 24
_SIZES = (100, 4_000, 30_000, 45_000, 60_000)
"""Bytes that RLIMIT_FSIZE lets a file have; a shard has 41,000, the reference 66,000."""


@dataclass
class Outcome:
    """What failures showed."""

    of: dict[str, Counter[str]] = field(default_factory=dict)
    """What was tried; what it ended with, how often."""

    def add(self, tried: str, ended: str) -> None:
        """Counts one."""
        self.of.setdefault(tried, Counter())[ended] += 1

    @property
    def count(self) -> int:
        """Failures in all."""
        return sum(ended.total() for ended in self.of.values())


def _told(code: int, said: str, folder: Path) -> str:
    """What a command came to; an error must be a coded one that names a path."""
    if code == 0:
        return "exit 0: what failed was a convenience, or never reached"
    assert code == 6, f"exit {code}: {said}"
    assert str(folder) in said, f"names no path: {said}"
    return "exit 6, names the path"


def _at_every_call(
    outcome: Outcome, name: str, folder: Path, job: Callable[[], int], clear: Callable[[], None],
    said: Callable[[], str], check: Callable[[bool], object], places: Callable[[int], Sequence[int]], seed: int,
    but: tuple[Path, ...] = (),
) -> None:  # fmt: skip
    """Fails the n-th call of a job, for all n that ``places`` gives of their number.

    ``check`` gives its result, and where it is told so makes sure that nothing else is left.
    """
    told = folder / "calls"
    but = (*but, told)

    def counted(at: int, number: int) -> int:
        calls = Calls(folder, at, failing(number), but)
        calls.watch()
        code = job()
        told.write_text(str(calls.count))
        return code

    clear()
    assert ending(forked(partial(counted, 0, 0))) == 0, said()
    expected = check(True)
    for at in places(int(told.read_text())):
        number = ERRORS[(at + seed) % len(ERRORS)]
        what = f"seed {seed}, {name}, call {at}, {errno.errorcode[number]}"
        clear()
        code = ending(forked(partial(counted, at, number)))
        try:
            outcome.add(f"{name}: {errno.errorcode[number]} at a call", _told(code, said(), folder))
            if code == 0:
                assert check(False) == expected, "another result"
            assert ending(forked(job)) == 0, said()
            assert check(True) == expected, "another result"
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


def trained(outcome: Outcome, places: Callable[[int], Sequence[int]], seed: int) -> None:
    """Train, then evaluate with its report."""
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
            else:  # a cache that could not be written was done without
                assert rows.items() <= whole[0].items()
                found["rows"] = whole[0]
            return found

        _at_every_call(
            outcome, "train and evaluate", job.folder, job.both, job.clear, lambda: _said(job.said), check, places,
            seed, (job.counter, job.said),
        )  # fmt: skip
        expected = check(True)
        for size in _SIZES:
            job.clear()
            code = ending(forked(job.both, partial(_limit, size)))
            outcome.add("train and evaluate: RLIMIT_FSIZE", _told(code, _said(job.said), job.folder))
            assert not runs.finished_runs(job.runs) or code == 0 or _whole_run(job)
            assert ending(forked(job.both)) == 0, _said(job.said)
            assert check(True) == expected


def _limit(size: int) -> None:
    """Files must not grow larger from here on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _whole_run(job: Toy) -> bool:
    return ending(forked(partial(job.command, "evaluate"))) == 0


def _said(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def fetched(outcome: Outcome, places: Callable[[int], Sequence[int]], seed: int) -> None:
    """Fetch from an archive on this machine."""
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
            lambda: _said(said), check, places, seed, (said,),
        )  # fmt: skip


def converted(outcome: Outcome, places: Callable[[int], Sequence[int]], seed: int) -> None:
    """A folder of the cache with a converted network, an earlier one there damaged."""
    with tempfile.TemporaryDirectory() as name:
        folder, said = Path(name) / "backbones" / "net", Path(name) / "said.txt"

        def write(staging: Path) -> None:  # in truth a process of its own
            with whole_file(staging / "model.xml") as xml, whole_file(staging / "model.bin") as weights:
                xml.write_text("graph")
                weights.write_bytes(bytes(9999))

        def job() -> int:
            try:
                assert is_whole(kept(folder, write).folder)
            except (OSError, ResourceError) as error:
                said.write_text(str(error))
                return 6 if isinstance(error, ResourceError) or error.errno in ERRORS else 1
            return 0

        def clear() -> None:
            shutil.rmtree(folder.parent, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "model.xml").write_text("damaged")

        whole: list[dict[str, bytes]] = []

        def check(tidy: bool) -> object:
            if not tidy and not is_whole(folder):  # a cache that could not be written was done without
                return whole[0]
            assert is_whole(folder)
            whole.append({path.name: path.read_bytes() for path in folder.iterdir()})
            return whole[-1]

        _at_every_call(
            outcome, "converted network", Path(name), job, clear, lambda: _said(said), check, places, seed, (said,)
        )  # fmt: skip


@contextmanager
def small_disk(size: str) -> Iterator[Path | None]:
    """A disk of that size in memory; None where none can be mounted (that takes root)."""
    with tempfile.TemporaryDirectory() as name:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0
        try:
            yield Path(name) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "-l", name], check=True)


def on_small_disks(outcome: Outcome) -> bool:
    """Cache and runs on disks that are too small; False where none can be mounted."""
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
                for place in (job.cache, job.runs):
                    (disk / place.name).mkdir()
                    place.symlink_to(disk / place.name)
                code = ending(forked(job.both))
                outcome.add("train and evaluate: a disk too small", _told(code, _said(job.said), job.folder))
                command = ["mount", "-o", "remount,size=64m", str(disk)]
                subprocess.run(command, check=True)
                assert ending(forked(job.both)) == 0, _said(job.said)
                assert result_of(job.folder) == expected
    return True


def run(passes: int, seed: int = 0, sample: int | None = None) -> tuple[Outcome, bool]:
    """All of it; ``sample`` is how many calls of each job fail, chosen by the seed, instead of every one.

    Returns:
        What came of it; whether small disks could be tried.
    """
    outcome = Outcome()

    def places(calls: int) -> Sequence[int]:
        numbers = range(1, calls + 1)
        return numbers if sample is None else sorted(Random(seed).sample(numbers, min(sample, calls)))

    for number in range(passes):
        for trial in (trained, fetched, converted):
            trial(outcome, places, seed + number)
    return outcome, on_small_disks(outcome)


def section(large: bool) -> Iterator[str]:
    """What failures came to."""
    outcome, disks = run(3 if large else 1, 0, None if large else 10)
    yield f"## Disks that fail ({outcome.count})"
    yield ""
    yield "Each call that changes files (opening for writing, write, fsync, rename, mkdir, rmdir, unlink, symlink)"
    yield "fails in its turn; files grow beyond a limit of the system (RLIMIT_FSIZE); the disk is too small."
    yield "Nothing half-done is left that a later command believes, and the same commands then end with the result of a"
    yield "training that was not disturbed, bit for bit. `python -m tests.torture.failing_disk`"
    if not disks:
        yield "Disks too small were not tried: mounting one takes root."
    yield ""
    yield "| what | outcome | times |"
    yield "| --- | --- | ---: |"
    for tried, ended in outcome.of.items():
        for how, times in ended.most_common():
            yield f"{row(tried, how)} {times} |"


def main() -> None:
    """Prints what was seen."""
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
