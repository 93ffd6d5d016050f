"""Odd and broken images through the decoder and through train, evaluate, predict and inspect.

python -m tests.torture.odd_images [MUTATIONS] [SEED]    (default: 20,000 mutations, seed 0)
"""

import json
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from tests.reliability import row
from tests.torture import mutations
from tests.torture.broken_images import bmps, broken
from tests.torture.image_bytes import BACKGROUND, SIDE
from tests.torture.image_kinds import Kind, valid
from tests.torture.mutations import ALL, told
from tests.torture.odd_files import ODD, decoded, while_it_changes
from tests.torture.odd_workflows import same_pixels
from tests.torture.trained import Trained, trained

from tlcli.images.decode import BadImageError, prepare
from tlcli.images.preparation import Preparation
from tlcli.system.files import sha256_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_USUAL = Preparation(size=SIDE, resize="squash", background=BACKGROUND)
_SLOW = 20.0
"""Seconds an image, against hanging; the large trial tells the longest."""


def good_kinds() -> list[Kind]:
    """All valid kinds."""
    return [*valid(), *bmps()]


def outcome(kind: Kind) -> str:
    """What the decoder makes of a kind.

    Raises:
        AssertionError: something else than what the kind says.
    """
    pixels, reason = _decoded(kind)
    if pixels is None:
        assert kind.reason is not None, f"{kind.name}: a good image was dropped: {reason}"
        assert re.search(kind.reason, reason), f"{kind.name}: {reason}"
        return f"refused: {told(reason)}"
    assert pixels.shape == (SIDE, SIDE, 3), f"{kind.name}: {pixels.shape}"
    assert kind.reason is None or not kind.sure, f"{kind.name}: was read"
    if kind.reason is not None:
        return "read, though damaged: Pillow overlooks it"
    if kind.pixels is None:
        return "read"
    off = int(np.abs(pixels.astype(int) - kind.pixels).max())
    assert off <= kind.within, f"{kind.name}: {off} levels off"
    return "read, every pixel as it must be" if kind.within == 0 else "read, as exactly as its packing is"


def _decoded(kind: Kind) -> "tuple[NDArray[np.uint8] | None, str]":
    try:
        return prepare(kind.data, ALL if kind.reason is None else _USUAL), ""
    except BadImageError as error:
        return None, str(error)


def decode_all(kinds: Sequence[Kind]) -> tuple[Counter[tuple[str, str]], float]:
    """How many of each format came to what, and the longest time (s)."""
    seen: Counter[tuple[str, str]] = Counter()
    slowest = 0.0
    for kind in kinds:
        began = perf_counter()
        came = outcome(kind)
        slowest = max(slowest, perf_counter() - began)
        seen[_group(kind), came] += 1
    assert slowest < _SLOW, f"one took {slowest:.1f} s"
    return seen, slowest


_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


def _group(kind: Kind) -> str:
    family = next((name for name in _FORMATS if kind.name.startswith(name) and kind.usual), "")
    if kind.reason is None:
        return f"valid: {family or 'formats that a config may add'}"
    if family in _FORMATS and "opted" not in kind.name:
        return f"broken or hostile: {family}"
    return "a format that the config does not name" if "opted" in kind.name else "no image, named .jpg"


def _digests(folder: Path) -> dict[str, object]:
    """Of each file its digest and its times, of the others what they are."""
    found: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        content = sha256_file(path) if path.is_file() and status.st_size < 1 << 30 else ""
        found[path.name] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def predicted(made: Trained, kinds: Sequence[Kind]) -> tuple[int, int]:
    """Predicts a folder of all kinds, and each odd file, by the real command.

    Returns:
        how many were answered, and how many were named with their reason.
    """
    folder = made.folder / "kinds"
    folder.mkdir(exist_ok=True)
    expected: dict[str, str | None] = {}
    for number, kind in enumerate(kinds):
        if kind.usual and kind.sure:
            name = f"{number:03d}.jpg"
            (folder / name).write_bytes(kind.data)
            expected[name] = kind.reason
    for number, odd in enumerate(ODD):
        name = f"odd{number:02d}.jpg"
        odd.put(folder / name)
        if odd.name != "a folder":  # of a folder the images in it are meant
            expected[name] = odd.reason
    before = _digests(folder)
    given = [f"kinds/{name}" for name in expected]
    done = made.tlcli("predict", *given, "--json")
    assert done.code == 3, (done.code, done.err)
    answers = {Path(one["path"]).name: one["error"] for one in json.loads(done.out)}
    assert list(answers) == list(expected)
    for name, reason in expected.items():
        error = answers[name]
        what = kinds[int(name[:3])].name if name[0] != "o" else name
        assert (error is None) == (reason is None), f"{what}: {error}"
        assert reason is None or re.search(reason, error), f"{what}: {error}"
    done = made.tlcli("predict", "kinds", "--json")
    assert done.code == 3, (done.code, done.err)
    assert _digests(folder) == before, "an image was changed"
    bad = sum(error is not None for error in answers.values())
    return len(answers) - bad, bad


def section(large: bool, cache: Path | None = None) -> Iterator[str]:
    """What came of it; ``cache`` may hold the converted backbone."""
    warnings.simplefilter("ignore")
    good, bad = good_kinds(), broken()
    count = 20_000 if large else 2_000
    assert len(good) + len(bad) >= 120
    yield f"## Odd and broken images ({len(good) + len(bad) + len(ODD)} kinds, {count:,} mutations)"
    yield ""
    yield "Images made by the test, decoded. A valid one must become the right pixels, another one is refused with"
    yield "its reason. Mutations (bytes flipped, cut, swapped, grafted) are decoded in a process of their own, where a"
    yield "death would be seen. `python -m tests.torture.odd_images`"
    yield ""
    seen, slowest = decode_all([*good, *bad])
    if large:
        assert slowest < 2, f"one took {slowest:.1f} s"
    yield "| what | outcome | kinds |"
    yield "| --- | --- | ---: |"
    for (group, came), times in sorted(seen.items()):
        yield f"{row(group, came)} {times} |"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _odd_files(folder)
        read = while_it_changes(folder, 2_000 if large else 200)
        changing = "a file that is cut, lengthened, replaced by a pipe and removed while it is read"
        yield f"{row(changing, 'pixels or a reason')} {read} |"
    result = mutations.run(count, 0)
    assert result.outcomes.total() == count
    for came, times in sorted(result.outcomes.items()):
        yield f"{row('a mutation', came)} {times} |"
    with tempfile.TemporaryDirectory() as name:
        yield from _workflows(Path(name), cache, good, bad)


def _odd_files(folder: Path) -> Iterator[str]:
    for number, odd in enumerate(ODD):
        path = folder / f"{number}.jpg"
        odd.put(path)
        reason = decoded(path)
        assert (reason is None) == (odd.reason is None), f"{odd.name}: {reason}"
        assert reason is None or re.search(odd.reason or "", reason), f"{odd.name}: {reason}"
        yield f"{row(odd.name + ', named .jpg', 'read' if reason is None else f'refused: {reason}')} 1 |"


def _workflows(folder: Path, cache: Path | None, good: Sequence[Kind], bad: Sequence[Kind]) -> Iterator[str]:
    (folder / "real").mkdir()
    answered, named = predicted(trained(folder / "real", cache or folder / "cache"), [*good, *bad])
    yield f"{row('predict (the real command) on all of them', 'answered, exit code 3 for the others')} {answered} |"
    yield f"{row('predict (the real command) on all of them', 'named with its reason')} {named} |"
    yield f"{row('all of them after predict', 'byte for byte as they were')} {answered + named} |"
    compared = same_pixels(folder / "same", good, [kind for kind in bad if kind.sure])
    same = "the same pixels enter the network: difference 0"
    yield f"{row('valid ones in train, evaluate, predict and inspect', same)} {compared} |"


def main() -> None:
    """Prints what was seen."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(20_000, 0)[len(numbers) :]]
    for line in section(large=True):
        print(line)
    result = mutations.run(count, seed)
    print(f"{count} mutations of seed {seed}: the slowest took {result.slowest:.2f} s ({result.slowest_one})")


if __name__ == "__main__":
    main()
