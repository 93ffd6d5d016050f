"""Flips one bit in each kind of file that tlcli keeps, and checks that it is found.

python -m tests.torture.bit_rot [SHARDS] [SEED]    (default: 200 shards, and half as many of each other kind)
"""

import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.reliability import row
from tests.torture import toy
from tests.torture.toy import Toy, ending, forked, result_of

from tlcli.backbones.blocks import one_block
from tlcli.backbones.graph import GRAPH_FILES, ConvertedGraph
from tlcli.datasets.digests import digests_of
from tlcli.engines.compiled import CompiledGraph
from tlcli.errors import ModelError
from tlcli.features.store import Store, row_key
from tlcli.model.bundle import load_bundle
from tlcli.progress import Progress
from tlcli.runs import folders as runs
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.files import sha256_file
from tlcli.workflows.runs import list_runs

_DIGEST = "0123456789abcdef" * 4
_WIDTH, _ROWS = 16, 3


class _Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def flip(path: Path, chance: random.Random) -> None:
    """Flips one bit anywhere in a file."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def shards(count: int, chance: random.Random) -> str:
    """Damages shards: all are removed, and written again."""
    rows = np.random.default_rng(0).normal(0, 1, (count, _ROWS, _WIDTH)).astype(np.float32)
    keys = [[row_key(f"{shard}", f"{view}") for view in range(_ROWS)] for shard in range(count)]

    def fill() -> Store:
        store = Store(_DIGEST, one_block(_WIDTH))
        for of_shard, features in zip(keys, rows, strict=True):
            store.append(of_shard, features)
        return store

    folder = fill().folder
    for path in folder.glob("*.safetensors"):
        flip(path, chance)
    progress = _Notes()
    damaged = Store(_DIGEST, one_block(_WIDTH), progress)
    assert not any(key in damaged for of_shard in keys for key in of_shard), "a damaged shard was accepted"
    assert (len(progress.notes), list(folder.iterdir())) == (count, [])
    fill()
    again = Store(_DIGEST, one_block(_WIDTH), progress)
    assert np.array_equal(again.read(key for of_shard in keys for key in of_shard), rows.reshape(-1, _WIDTH))
    assert len(progress.notes) == count
    return "found, removed, computed again"


def trained(job: Toy, chance: random.Random) -> tuple[str, int]:
    """Damages every shard of a training: the next one ends with the same bits."""
    assert ending(forked(job.both, job.install)) == 0
    expected, computed = result_of(job.folder), job.computed
    damaged = list((job.folder / "cache" / "features").glob("*/*.safetensors"))
    for path in damaged:
        flip(path, chance)
    shutil.rmtree(job.folder / "runs")
    assert ending(forked(job.both, job.install)) == 0
    assert result_of(job.folder) == expected
    assert job.computed == 2 * computed
    return "the next train ends with the same bits", len(damaged)


def bundled(job: Toy, count: int, chance: random.Random) -> str:
    """Damages the head or the reference of a bundle."""
    model = runs.find_run(job.folder / "runs") / "model"
    for number in range(count):
        path = model / ("head.safetensors", "reference.safetensors")[number % 2]
        whole = path.read_bytes()
        flip(path, chance)
        with pytest.raises(ModelError) as refused:
            load_bundle(model)
        assert str(path) in refused.value.message
        path.write_bytes(whole)
    load_bundle(model)
    return "refused, names the file"


def recorded(job: Toy, count: int, chance: random.Random) -> str:
    """Damages run.json, which has no digest: reported as broken, or read as it is; evaluate never shows a traceback."""
    run = runs.find_run(job.folder / "runs")
    whole = (run / "run.json").read_bytes()
    codes: Counter[int] = Counter()
    for number in range(count):
        flip(run / "run.json", chance)
        listed = list_runs(job.folder / "runs")
        assert len(listed.runs) + len(listed.broken) == 1
        if number < count // 5:
            codes[ending(forked(lambda: job.command("evaluate"), job.install))] += 1
        (run / "run.json").write_bytes(whole)
    assert codes.keys() <= {0, 3, 5}, codes
    return "reported as broken, or read as it is (it is a record for people); no traceback"


def remembered(folder: Path, count: int, chance: random.Random) -> str:
    """Damages the database of digests."""
    files = [folder / f"{number}.bin" for number in range(20)]
    for path in files:
        path.write_bytes(path.name.encode() * 100)
        os.utime(path, (1e9, 1e9))
    database = folder / "cache" / "digests-1.sqlite"
    expected = {path: sha256_file(path) for path in files}
    with _settled():
        for _ in range(count):
            database.unlink(missing_ok=True)
            digests_of(files)
            flip(database, chance)
            found = digests_of(files)
            assert (found.of, found.errors) == (expected, {})
    return "right digests"


class _settled:  # noqa: N801 - a context manager
    """Lets digests of files written just now be remembered, which takes 2 s otherwise."""

    def __enter__(self) -> None:
        from tlcli.datasets import digests

        self._module, self._before = digests, digests._SETTLED
        digests._SETTLED = 0

    def __exit__(self, *_: object) -> None:
        self._module._SETTLED = self._before


def converted(folder: Path, count: int, chance: random.Random) -> str:
    """Damages the files of a converted backbone, and OpenVINO's compiled graph of it."""
    target = folder / "cache" / "backbones" / "net"

    def write(staging: Path) -> None:
        for name in GRAPH_FILES:
            (staging / name).write_bytes(name.encode() * 1000)

    kept(target, write, GRAPH_FILES)
    for number in range(count):
        name = (*GRAPH_FILES, "digests.json")[number % 4]
        flip(target / name, chance)
        if name == "digests.json":  # another white space between its fields changes nothing
            json_is_equal = _json(target / name) == {n: sha256_file(target / n) for n in GRAPH_FILES}
            assert is_whole(target, GRAPH_FILES) == json_is_equal
        else:
            assert not is_whole(target, GRAPH_FILES), f"a damaged {name} was accepted"
        kept(target, write, GRAPH_FILES)
        assert is_whole(target, GRAPH_FILES)

    def compiled() -> CompiledGraph:  # what one has found of its files, it remembers
        return CompiledGraph(ConvertedGraph(target), "f32")

    for _ in range(count // 2):
        with compiled().cache() as folder_of_blobs:
            assert folder_of_blobs is not None
            (folder_of_blobs / "1.blob").write_bytes(bytes(5000))
        assert compiled().is_cached
        flip(compiled().folder / "1.blob", chance)
        assert not compiled().is_cached, "a damaged blob was accepted"
    return "found, computed again"


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except ValueError:
        return None


def run(count: int, seed: int = 0) -> dict[str, tuple[int, str]]:
    """Returns how often each kind of file was damaged, and the outcome."""
    chance, others = random.Random(seed), max(6, count // 2)
    toy.warm_up()
    before = os.environ.get("TLCLI_CACHE")
    with tempfile.TemporaryDirectory() as name:
        job = Toy(Path(name))
        toy.draw(job.folder)
        outcome, of_training = trained(job, chance)
        seen = {f"{of_training} shards of a training, all at once": (of_training, outcome)}
        os.environ["TLCLI_CACHE"] = str(job.cache)
        try:
            seen[f"{count} shards, all at once"] = (count, shards(count, chance))
            seen["head or reference of a bundle"] = (others, bundled(job, others, chance))
            seen["run.json"] = (others, recorded(job, others, chance))
            seen["database of digests"] = (others, remembered(job.folder, others, chance))
            seen["converted backbone and compiled graph"] = (others, converted(job.folder, others, chance))
        finally:
            os.environ.pop("TLCLI_CACHE")
            if before is not None:
                os.environ["TLCLI_CACHE"] = before
    return seen


def section(large: bool) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    count = 200 if large else 40
    seen = run(count)
    yield f"## Bit rot ({sum(times for times, _ in seen.values())} flips)"
    yield ""
    yield "One bit is flipped anywhere in a file. Nothing computed from a damaged file is accepted."
    yield f"`python -m tests.torture.bit_rot {count}`"
    yield ""
    yield "| flipped in | outcome | flips |"
    yield "| --- | --- | ---: |"
    for what, (times, outcome) in seen.items():
        yield f"{row(what, outcome)} {times} |"


def main() -> None:
    """Prints the outcomes."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(200, 0)[len(numbers) :]]
    for what, (times, outcome) in run(count, seed).items():
        print(f"  {times:5} {what}: {outcome}")
    print(f"seed {seed}")


if __name__ == "__main__":
    main()
