"""Mutated images: bytes flipped, cut, put in, swapped; decoded in a child process, so that a death is seen and named.

python -m tests.torture.mutations [COUNT] [SEED]    (default: 2000 mutations, seed 0)
"""

import faulthandler
import json
import os
import random
import re
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
"""Bytes of an image that is mutated; of longer ones little but their pixels would be hit."""
ALL = Preparation(size=SIDE, resize="squash", background=BACKGROUND, formats=ALL_FORMATS)


@dataclass
class Seen:
    """What came of them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_one: str = ""


def _flipped(data: bytearray, chance: random.Random, _other: bytes) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)


def _cut(data: bytearray, chance: random.Random, _other: bytes) -> None:
    del data[chance.randrange(len(data)) :]


def _put_in(data: bytearray, chance: random.Random, other: bytes) -> None:
    place, start = chance.randrange(len(data)), chance.randrange(len(other))
    data[place:place] = other[start : start + chance.choice((1, 4, 100))]


def _taken_out(data: bytearray, chance: random.Random, _other: bytes) -> None:
    place = chance.randrange(len(data))
    del data[place : place + chance.choice((1, 4, 100))]


def _swapped(data: bytearray, chance: random.Random, _other: bytes) -> None:
    length = chance.choice((4, 16, 64))
    a, b = (chance.randrange(max(1, len(data) - length)) for _ in range(2))
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


def _extreme(data: bytearray, chance: random.Random, _other: bytes) -> None:
    place = chance.randrange(len(data))
    number = chance.choice((0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    data[place : place + 4] = number.to_bytes(4, chance.choice(("little", "big")))


def _grafted(data: bytearray, chance: random.Random, other: bytes) -> None:
    place = chance.randrange(len(data))
    data[place:] = other[chance.randrange(len(other)) :]


_WAYS: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    _flipped, _flipped, _flipped, _cut, _put_in, _taken_out, _swapped, _extreme, _extreme, _grafted,
)  # fmt: skip


def samples() -> list[tuple[str, bytes]]:
    """Names and bytes of what is mutated."""
    return [(kind.name, kind.data) for kind in valid() if len(kind.data) <= _LONGEST]


def mutated(number: int, seed: int, images: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The mutation of this number: what it was, and its bytes."""
    chance = random.Random(f"{seed}:{number}")
    name, data = images[number % len(images)]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if changed:
            chance.choice(_WAYS)(changed, chance, chance.choice(images)[1])
    return name, bytes(changed)


def _child(first: int, count: int, seed: int, mark: Path) -> None:
    """Decodes mutations, noting each before it begins; what came of them goes to stdout."""
    warnings.simplefilter("ignore")
    seen, images = Seen(), samples()
    with mark.open("r+b", buffering=0) as file:
        for number in range(first, first + count):
            name, data = mutated(number, seed, images)
            os.pwrite(file.fileno(), b"%012d" % number, 0)
            faulthandler.dump_traceback_later(_HANGS, exit=True)
            began = perf_counter()
            try:
                assert prepare(data, ALL).shape == (SIDE, SIDE, 3)
                seen.outcomes["an image"] += 1
            except BadImageError as error:
                reason = str(error)
                assert "\n" not in reason, f"{name}, {number}: {reason!r}"
                seen.outcomes[f"refused: {told(reason)}"] += 1
            if (took := perf_counter() - began) > seen.slowest:
                seen.slowest, seen.slowest_one = took, f"{name}, mutation {number}"
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(vars(seen)))


def told(reason: str) -> str:
    """The part of a reason that neither hangs on Pillow's version nor on the image."""
    return re.sub(r"\d+ x \d+", "W x H", reason.split(":", maxsplit=1)[0].split(" (", maxsplit=1)[0])


def run(count: int, seed: int) -> Seen:
    """Decodes them.

    Raises:
        AssertionError: the process died, hung or was ended by another error; the message names the mutation.
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
    return Seen(Counter(fields["outcomes"]), fields["slowest"], fields["slowest_one"])


def main() -> None:
    """Prints what was seen."""
    if sys.argv[1:2] == ["child"]:
        first, count, seed = (int(text) for text in sys.argv[2:5])
        _child(first, count, seed, Path(sys.argv[5]))
        return
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(2000, 0)[len(numbers) :]]
    seen = run(count, seed)
    print(f"{count} mutations, no death; the slowest took {seen.slowest:.2f} s ({seen.slowest_one})")
    for outcome, times in seen.outcomes.most_common():
        print(f"  {times:6} {outcome}")


if __name__ == "__main__":
    main()
