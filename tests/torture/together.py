"""Many processes at once on one store, one converted backbone and one data folder, with and without working locks.

python -m tests.torture.together [PROCESSES] [ROUNDS] [SEED]    (default: 8 processes, 50 rounds)

Everything read must be complete and right each time: every row of the store, every byte of the backbone, every file of
the data set. A lock only saves double work; with one that locks nothing the same must hold.
"""

import hashlib
import os
import random
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
from tests.reliability import row
from tests.torture import toy
from tests.torture.toy import command, ending, forked

from tlcli.backbones.blocks import one_block
from tlcli.backbones.graph import GRAPH_FILES
from tlcli.datasets.acquire import install
from tlcli.features.store import Store, row_key
from tlcli.progress import Progress
from tlcli.system.cache.folders import is_whole, kept

_DIGEST = "0123456789abcdef" * 4
_WIDTH = 64
_ROWS = 40


def _row(number: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.random.default_rng(number).normal(0, 1, _WIDTH).astype(np.float32)


class _NoDamage(Progress):
    """The store is not damaged: nothing may be reported as such."""

    def note(self, message: str) -> None:
        raise AssertionError(message)


def _store(folder: Path, rounds: int, seed: int) -> int:
    """Adds rows that others add too, and reads and checks all rows that are there."""
    os.environ["TLCLI_CACHE"] = str(folder)
    chance = random.Random(seed)
    for _ in range(rounds):
        store = Store(_DIGEST, one_block(_WIDTH), _NoDamage())
        numbers = chance.sample(range(_ROWS), chance.randint(1, 6))
        store.append([row_key(str(n), "0") for n in numbers], np.stack([_row(n) for n in numbers]))
        again = Store(_DIGEST, one_block(_WIDTH), _NoDamage())
        present = [n for n in range(_ROWS) if row_key(str(n), "0") in again]
        assert set(numbers) <= set(present)
        read = again.read(row_key(str(n), "0") for n in present)
        assert np.array_equal(read, np.stack([_row(n) for n in present])), "a torn row"
    return 0


def _backbone(folder: Path, rounds: int, seed: int) -> int:
    """Opens the converted backbone, or creates it; damages it now and then."""
    chance = random.Random(seed)
    target, bytes_of = folder / "net", np.arange(50_000, dtype=np.int32).tobytes()

    def write(staging: Path) -> None:
        for name in GRAPH_FILES:
            (staging / name).write_bytes(bytes_of)

    for _ in range(rounds):
        if chance.random() < 0.1 and target.exists():
            # Truncated in one step: a new file could land in a folder that is just being removed, and keep it.
            with suppress(FileNotFoundError):  # another process is just replacing it
                os.truncate(target / "model.bin", 4)
        if not is_whole(target, GRAPH_FILES):
            assert kept(target, write, GRAPH_FILES) == target
        try:
            content = (target / "model.bin").read_bytes()
        except FileNotFoundError:  # as above
            continue
        assert content in (bytes_of, bytes_of[:4]), "a torn backbone"
    return 0


def _fetch(folder: Path, expected: dict[str, str], rounds: int, with_lock: bool) -> int:
    """Fetches into one folder; after a fetch that succeeds exactly the expected files are there."""
    os.environ["TLCLI_CACHE"] = str(folder / "cache")
    if not with_lock:
        install._lock = lambda *_: nullcontext(True)  # type: ignore[assignment]
    for _ in range(rounds):
        code = command(folder / f"said.{os.getpid()}", "fetch", "--config", str(folder / "f.yaml"))
        assert code == 0 or not with_lock, (folder / f"said.{os.getpid()}").read_text()
        if (folder / "data").exists():
            found = {p.parent.name + p.name: _sha256(p) for p in folder.glob("data/*/*")}
            assert found == expected, "a torn data folder"
    return 0


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _concurrently(processes: int, job: Callable[[int], int]) -> None:
    numbers = [forked(partial(job, number)) for number in range(processes)]
    assert [ending(number) for number in numbers] == [0] * processes


def store(processes: int, rounds: int, seed: int = 0) -> int:
    """Tests the store, which has no lock; returns how often rows were read."""
    with tempfile.TemporaryDirectory() as name:
        _concurrently(processes, lambda number: _store(Path(name), rounds, 1000 * seed + number))
        assert not list(Path(name).rglob("*.tmp"))
    return processes * rounds


def backbone(processes: int, rounds: int, seed: int = 0) -> int:
    """Tests the folder of a converted backbone, which has no lock; returns how often it was opened."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _concurrently(processes, lambda number: _backbone(folder, rounds, 1000 * seed + number))
        assert [path.name for path in folder.iterdir()] == ["net"], list(folder.iterdir())
    return processes * rounds


def fetches(processes: int, rounds: int, with_lock: bool) -> int:
    """Tests a data folder that all processes fetch; returns how often."""
    toy.warm_up()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            toy.draw(folder, 8)
            images = sorted((folder / "shapes").glob("*/*"))
            with zipfile.ZipFile(folder / "images.zip", "w") as archive:
                for path in images:
                    archive.write(path, path.relative_to(folder / "shapes").as_posix())
            source = f"sources: [{{archive: {folder}/images.zip}}]"
            (folder / "f.yaml").write_text(f"dataset: {{path: {folder}/data, {source}}}\n")
            expected = {path.parent.name + path.name: _sha256(path) for path in images}
            _concurrently(processes, lambda _: _fetch(folder, expected, 1, with_lock))  # noqa: B023
            assert _fetch(folder, expected, 1, with_lock=True) == 0
            assert not (folder / ".data.fetch").exists(), list((folder / ".data.fetch").iterdir())
    return processes * rounds


def run(processes: int, rounds: int, seed: int = 0) -> Counter[str]:
    """Returns what was tried, how often. Raises AssertionError where anything torn was read."""
    return Counter(
        {
            "one store (it has no lock)": store(processes, rounds, seed),
            "one converted backbone (it has no lock), damaged now and then": backbone(processes, rounds, seed),
            "one data folder, with the lock": fetches(processes, -(-rounds // 5), with_lock=True),
            "one data folder, with a lock that locks nothing": fetches(processes, -(-rounds // 5), with_lock=False),
        }
    )


def section(large: bool) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    processes, rounds = (8, 50) if large else (8, 5)
    seen = run(processes, rounds)
    yield f"## Concurrent processes ({seen.total():,} reads by {processes} processes)"
    yield ""
    yield f"{processes} processes write and read the same at once; every byte of each read is checked."
    yield f"`python -m tests.torture.together {processes} {rounds}`"
    yield ""
    yield "| shared | outcome | reads |"
    yield "| --- | --- | ---: |"
    for what, times in seen.items():
        yield f"{row(what, '0 torn reads')} {times:,} |"


def main() -> None:
    """Prints the outcomes."""
    numbers = [int(text) for text in sys.argv[1:]]
    processes, rounds, seed = [*numbers, *(8, 50, 0)[len(numbers) :]]
    began = monotonic()
    for what, times in run(processes, rounds, seed).items():
        print(f"  {times:5} reads, 0 torn: {what}")
    print(f"{processes} processes, {rounds} rounds, seed {seed} ({monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
