"""Mutated images: bytes flipped, cut, inserted, swapped; decoded in a child process, so that a crash is seen and named.

python -m tests.torture.mutations [COUNT] [SEED]    (default: 2000 mutations, seed 0)
"""

import faulthandler
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from tests.torture.image_bytes import BACKGROUND, SIDE
from tests.torture.image_kinds import ALL_FORMATS, valid

from tlcli.images.decode import BadImageError, prepare
from tlcli.images.preparation import Preparation

_ROOT = Path(__file__).parents[2]
_HANGS = 20
"""Seconds for one mutation, after which it counts as hanging."""
_LONGEST = 20_000
"""Bytes; in longer images mutations would hit hardly anything but pixels."""
ALL = Preparation(size=(SIDE, SIDE), resize="squash", background=BACKGROUND, formats=ALL_FORMATS)


@dataclass
class Outcomes:
    """The outcomes of all mutations."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_one: str = ""


def _flipped(data: bytearray, chance: random.Random, _other: bytes) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)


def _cut(data: bytearray, chance: random.Random, _other: bytes) -> None:
    del data[chance.randrange(len(data)) :]


def _inserted(data: bytearray, chance: random.Random, other: bytes) -> None:
    position, start = chance.randrange(len(data)), chance.randrange(len(other))
    data[position:position] = other[start : start + chance.choice((1, 4, 100))]


def _removed(data: bytearray, chance: random.Random, _other: bytes) -> None:
    position = chance.randrange(len(data))
    del data[position : position + chance.choice((1, 4, 100))]


def _swapped(data: bytearray, chance: random.Random, _other: bytes) -> None:
    length = chance.choice((4, 16, 64))
    a, b = (chance.randrange(max(1, len(data) - length)) for _ in range(2))
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


def _extreme(data: bytearray, chance: random.Random, _other: bytes) -> None:
    position = chance.randrange(len(data))
    number = chance.choice((0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    data[position : position + 4] = number.to_bytes(4, chance.choice(("little", "big")))


def _grafted(data: bytearray, chance: random.Random, other: bytes) -> None:
    position = chance.randrange(len(data))
    data[position:] = other[chance.randrange(len(other)) :]


_MUTATIONS: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    _flipped, _flipped, _flipped, _cut, _inserted, _removed, _swapped, _extreme, _extreme, _grafted,
)  # fmt: skip


def samples() -> list[tuple[str, bytes]]:
    """Names and bytes of the images that are mutated."""
    return [(kind.name, kind.data) for kind in valid() if len(kind.data) <= _LONGEST]


def mutated(number: int, seed: int, images: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Mutation ``number``: the name of the image, and the mutated bytes."""
    chance = random.Random(f"{seed}:{number}")
    name, data = images[number % len(images)]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if changed:
            chance.choice(_MUTATIONS)(changed, chance, chance.choice(images)[1])
    return name, bytes(changed)


def _child(first: int, count: int, seed: int, mark: Path) -> None:
    """Decodes mutations, recording the number of each before it starts; prints the outcomes as JSON."""
    warnings.simplefilter("ignore")
    seen, images = Outcomes(), samples()
    with mark.open("r+b", buffering=0) as file:
        for number in range(first, first + count):
            name, data = mutated(number, seed, images)
            os.pwrite(file.fileno(), b"%012d" % number, 0)
            faulthandler.dump_traceback_later(_HANGS, exit=True)
            began = perf_counter()
            try:
                assert prepare(data, ALL).shape == (SIDE, SIDE, 3)
                seen.counts["an image"] += 1
            except BadImageError as error:
                lines = error.reason.count("\n") + 1
                seen.counts[f"refused: {error.code}" if lines == 1 else f"{lines} lines: {error.reason}"] += 1
            if (took := perf_counter() - began) > seen.slowest:
                seen.slowest, seen.slowest_one = took, f"{name}, mutation {number}"
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(vars(seen)))


def run(count: int, seed: int) -> Outcomes:
    """Decodes them.

    Raises:
        AssertionError: the process crashed, hung or raised another error; the message names the mutation.
    """
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder, "mark")
        mark.write_bytes(bytes(12))
        command = [sys.executable, "-m", "tests.torture.mutations", "child", "0", str(count), str(seed), str(mark)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
        last = mark.read_bytes()
    if done.returncode:
        name, data = mutated(int(last), seed, samples())
        said = done.stderr.decode(errors="replace")[-2000:]
        raise AssertionError(
            f"{name}, mutation {int(last)} of seed {seed} ({len(data)} bytes): {done.returncode}\n{said}"
        )
    fields = json.loads(done.stdout)
    assert not any("\n" in outcome for outcome in fields["counts"]), fields["counts"]
    return Outcomes(Counter(fields["counts"]), fields["slowest"], fields["slowest_one"])


def main() -> None:
    """Prints the outcomes."""
    if sys.argv[1:2] == ["child"]:
        first, count, seed = (int(text) for text in sys.argv[2:5])
        _child(first, count, seed, Path(sys.argv[5]))
        return
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(2000, 0)[len(numbers) :]]
    seen = run(count, seed)
    print(f"{count} mutations, no crash; the slowest took {seen.slowest:.2f} s ({seen.slowest_one})")
    for outcome, count in seen.counts.most_common():
        print(f"  {count:6} {outcome}")


if __name__ == "__main__":
    main()
