"""Removes the folder of the images, or the cache, in the middle of a training, and restores it.

python -m tests.torture.vanished [SEED]

What was computed must be kept, the message must name the path, and the next training must end with the result of one
that was not disturbed, bit for bit. Also: a clock that jumps between two trainings.
"""

import errno
import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.reliability import row
from tests.torture import toy
from tests.torture.setting import codes_in
from tests.torture.toy import Toy, ending, forked, result_of

from tlcli.datasets import digests
from tlcli.features.store import Store
from tlcli.images import decode
from tlcli.images import items as decoder
from tlcli.images.decode import read
from tlcli.images.preparation import Preparation
from tlcli.system.files import read_regular

_YEAR = 365 * 86400


def _at(call: int, happens: Callable[[], None]) -> Callable[[], None]:
    """What happens at the n-th call."""
    calls = itertools.count(1)  # threads call it

    def count() -> None:
        if next(calls) == call:
            happens()

    return count


def _before_reading(happens: Callable[[], None]) -> None:
    def reading(path: Path, preparation: Preparation) -> bytes:
        happens()
        return read(path, preparation)

    setattr(decoder, "read", reading)  # noqa: B010 - to mypy it is not there


def _goes_away(job: Toy, call: int) -> None:
    _before_reading(_at(call, lambda: os.rename(job.folder / "shapes", job.folder / "elsewhere")))  # noqa: PTH104


def _errors(number: int, call: int) -> None:
    """Every reading of an image fails from the n-th on."""
    calls = itertools.count(1)  # threads call it

    def reading(path: Path, most: int) -> bytes:
        if next(calls) >= call:
            raise OSError(number, os.strerror(number), str(path))
        return read_regular(path, most)

    setattr(decode, "read_regular", reading)  # noqa: B010 - to mypy it is not there


def _cache_goes(job: Toy, call: int) -> None:
    append = Store.append
    goes = _at(max(1, call // toy.SHARD), lambda: shutil.rmtree(job.cache))

    def appending(self: Store, *arguments: object) -> None:
        append(self, *arguments)  # type: ignore[arg-type]
        goes()

    Store.append = appending  # type: ignore[assignment,method-assign]


def _disturbed(job: Toy, disturb: Callable[[], None]) -> tuple[int, str]:
    """Exit code and stderr of a training that is disturbed; then the next one, undisturbed, is checked."""
    job.clear()
    job.install()
    assert ending(forked(job.both)) == 0, job.said.read_text()
    expected, rows = result_of(job.folder), job.computed
    job.clear()
    code = ending(forked(job.both, disturb))
    said = job.said.read_text() if job.said.exists() else ""
    if (job.folder / "elsewhere").exists():
        (job.folder / "elsewhere").rename(job.folder / "shapes")
    computed = job.computed
    stored = _stored(job)
    assert ending(forked(job.both)) == 0, job.said.read_text()
    assert result_of(job.folder) == expected
    assert job.computed - computed == rows - stored
    return code, said


def _stored(job: Toy) -> int:
    """Rows that are in the cache."""
    from safetensors.numpy import load_file

    shards = (job.folder / "cache" / "features").glob("*/*.safetensors")
    return len({key.tobytes() for path in shards for key in load_file(path)["keys"]})


def _clock(job: Toy, years: int) -> str:
    """Files whose times lie years away, changed between trainings with size and time kept: the change is seen."""
    images = sorted((job.folder / "shapes").glob("*/*.png"))
    with_time = partial(os.utime, times=(images[0].stat().st_mtime + years * _YEAR,) * 2)
    for path in images:
        with_time(path)
    before = digests.digests_of(images)
    for path in images:
        data = bytearray(path.read_bytes())
        data[-20] ^= 1  # size and time stay
        path.write_bytes(data)
        with_time(path)
    after = digests.digests_of(images)
    assert not before.errors
    assert all(before.of[path] != after.of[path] for path in images), "an outdated digest was used"
    return "every change is seen"


def run(seed: int = 0) -> dict[str, str]:
    """Returns what was done, and its outcome."""
    toy.warm_up()
    call = random.Random(seed).randint(10, 40)
    seen = {}
    with tempfile.TemporaryDirectory() as name:
        job = Toy(Path(name))
        toy.draw(job.folder)
        os.environ["TLCLI_CACHE"] = str(job.cache)
        code, said = _disturbed(job, partial(_goes_away, job, call))
        assert code == 6, (code, said)
        assert str(job.folder / "shapes") in said, said
        seen["the folder of the images disappears"] = f"exit 6, `{codes_in(said)[0]}`, names the folder"
        for number in (errno.EIO, errno.ESTALE, errno.ENODEV):
            code, said = _disturbed(job, partial(_errors, number, call))
            assert code == 6, (code, said)
            assert os.strerror(number) in said, said
            assert str(job.folder / "shapes") in said, said
            name_of_error = errno.errorcode[number]
            seen[f"every image gives {name_of_error} from some moment on"] = (
                f"exit 6, `{codes_in(said)[0]}`, names an image"
            )
        code, said = _disturbed(job, partial(_cache_goes, job, call))
        assert code in (0, 6), (code, said)
        assert codes_in(said) == (["resource.file_disappeared"] if code else []), said
        seen["the cache is deleted"] = f"exit {code}" + (f", `{codes_in(said)[0]}`" if code else "")
        for years in (-30, 30):
            seen[f"times of images {abs(years)} years {'back' if years < 0 else 'ahead'}"] = _clock(job, years)
    return seen


def section(large: bool) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    repeats = 20 if large else 1
    for seed in range(1, repeats):
        run(seed)
    seen = run()
    yield f"## Disappearing disks and jumping clocks ({repeats * len(seen)})"
    yield ""
    yield "In the middle of `tlcli train`; what was computed is kept, and the next train and evaluate end with the same"
    yield "bits and compute only what is not kept. `python -m tests.torture.vanished`"
    yield ""
    yield "| what | outcome |"
    yield "| --- | --- |"
    for what, ended in seen.items():
        yield row(what, ended)


def main() -> None:
    """Prints the outcomes."""
    for what, ended in run(int(sys.argv[1]) if len(sys.argv) > 1 else 0).items():
        print(f"  {what}: {ended}")


if __name__ == "__main__":
    main()
