"""Unusual and broken images through the decoder and through train, evaluate, predict and inspect.

python -m tests.torture.odd_images [MUTATIONS] [SEED]    (default: 20,000 mutations, seed 0)
"""

import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from tests.reliability import row
from tests.torture import mutations
from tests.torture.broken_images import bmps, broken
from tests.torture.image_bytes import BACKGROUND, SIDE
from tests.torture.image_kinds import Kind, valid
from tests.torture.mutations import ALL
from tests.torture.odd_files import ODD, refusal, while_it_changes
from tests.torture.odd_workflows import same_pixels
from tests.torture.trained import Trained, trained

from tlcli.images.decode import BadImageError, prepare
from tlcli.images.formats import DEFAULT_FORMATS
from tlcli.images.preparation import Preparation
from tlcli.system.files import sha256_file

_USUAL = Preparation(size=(SIDE, SIDE), resize="squash", background=BACKGROUND)
_SLOW = 20.0
"""Seconds for one image, as a limit against hanging; the large trial reports the longest."""


def good_kinds() -> list[Kind]:
    """All valid kinds."""
    return [*valid(), *bmps()]


def outcome(kind: Kind) -> str:
    """What the decoder makes of a kind.

    Raises:
        AssertionError: something else than what the kind says.
    """
    pixels, code = None, ""
    try:
        pixels = prepare(kind.data, ALL if kind.valid else _USUAL)
    except BadImageError as error:
        code = error.code
    if pixels is None:
        assert code in kind.codes, f"{kind.name}: {code}"
        return f"refused: {code}"
    assert pixels.shape == (SIDE, SIDE, 3), f"{kind.name}: {pixels.shape}"
    assert kind.valid or not kind.sure, f"{kind.name}: was decoded"
    if not kind.valid:
        return "decoded, although damaged: Pillow overlooks it"
    if kind.pixels is None:
        return "decoded"
    difference = int(np.abs(pixels.astype(int) - kind.pixels).max())
    assert difference <= kind.within, f"{kind.name}: {difference} levels off"
    return "decoded, every pixel exact" if kind.within == 0 else "decoded, as exactly as lossy compression allows"


def decode_all(kinds: Sequence[Kind]) -> tuple[Counter[tuple[str, str]], float]:
    """The number of kinds by format and outcome, and the longest time (s)."""
    outcomes: Counter[tuple[str, str]] = Counter()
    slowest = 0.0
    for kind in kinds:
        started = perf_counter()
        result = outcome(kind)
        slowest = max(slowest, perf_counter() - started)
        outcomes[_group(kind), result] += 1
    assert slowest < _SLOW, f"one took {slowest:.1f} s"
    return outcomes, slowest


def _group(kind: Kind) -> str:
    family = next((name for name in DEFAULT_FORMATS if kind.name.startswith(name) and kind.usual), "")
    if kind.valid:
        return f"valid: {family or 'formats that a config may add'}"
    if family and "opted" not in kind.name:
        return f"broken or malicious: {family}"
    return "a format that the config does not allow" if "opted" in kind.name else "not an image, named .jpg"


def _digests(folder: Path) -> dict[str, object]:
    """The digest and the times of each file, the kind of the others."""
    found: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        content = sha256_file(path) if path.is_file() and status.st_size < 1 << 30 else ""
        found[path.name] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def predicted(made: Trained, kinds: Sequence[Kind]) -> tuple[int, int]:
    """Predicts a folder of all kinds, and each odd file, by the real command.

    Returns:
        how many were classified, and how many were listed with their code.
    """
    folder = made.folder / "kinds"
    folder.mkdir(exist_ok=True)
    expected: dict[str, str | None] = {}  # codes
    for number, kind in enumerate(kinds):
        if kind.usual and kind.sure:
            name = f"{number:03d}.jpg"
            (folder / name).write_bytes(kind.data)
            expected[name] = _refusal(folder / name)
    for number, odd in enumerate(ODD):
        name = f"odd{number:02d}.jpg"
        odd.put(folder / name)
        if odd.name != "a folder":  # predict would classify the images in it
            expected[name] = _refusal(folder / name)
    before = _digests(folder)
    given = [f"kinds/{name}" for name in expected]
    done = made.tlcli("predict", *given, "--json")
    assert done.code == 3, (done.code, done.err)
    answers = {Path(one["path"]).name: one["error_code"] for one in json.loads(done.out)}
    assert list(answers) == list(expected)
    assert answers == expected
    done = made.tlcli("predict", "kinds", "--json")
    assert done.code == 3, (done.code, done.err)
    assert _digests(folder) == before, "an image was changed"
    bad = sum(code is not None for code in answers.values())
    return len(answers) - bad, bad


def _refusal(path: Path) -> str | None:
    """The code that the image at a path is refused with, with the default formats; None if it is valid."""
    error = refusal(path, _USUAL)
    return None if error is None else error.code


def section(large: bool, cache: Path | None = None) -> Iterator[str]:
    """The section of the report; ``cache`` may hold the converted backbone."""
    warnings.simplefilter("ignore")
    good, bad = good_kinds(), broken()
    mutated = 20_000 if large else 2_000
    assert len(good) + len(bad) >= 120
    yield f"## Unusual and broken images ({len(good) + len(bad) + len(ODD)} kinds, {mutated:,} mutations)"
    yield ""
    yield "Images made by the test, decoded. A valid image must become the right pixels, any other file is refused with"
    yield "a code. Mutations (bytes flipped, cut, swapped, grafted) are decoded in a separate process, where a crash"
    yield "would be seen. `python -m tests.torture.odd_images`"
    yield ""
    outcomes, slowest = decode_all([*good, *bad])
    if large:
        assert slowest < 2, f"one took {slowest:.1f} s"
    yield "| what | outcome | kinds |"
    yield "| --- | --- | ---: |"
    for (group, result), count in sorted(outcomes.items()):
        yield f"{row(group, result)} {count} |"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _odd_files(folder)
        read = while_it_changes(folder, 2_000 if large else 200)
        changing = "a file that is cut, lengthened, replaced by a pipe and removed while it is read"
        yield f"{row(changing, 'pixels or a code')} {read} |"
    seen = mutations.run(mutated, 0)
    assert seen.counts.total() == mutated
    for result, count in sorted(seen.counts.items()):
        yield f"{row('a mutation', result)} {count} |"
    with tempfile.TemporaryDirectory() as name:
        yield from _workflows(Path(name), cache, good, bad)


def _odd_files(folder: Path) -> Iterator[str]:
    for number, odd in enumerate(ODD):
        path = folder / f"{number}.jpg"
        odd.put(path)
        error = refusal(path)
        code = None if error is None else error.code
        assert code == odd.code, f"{odd.name}: {code}"
        yield f"{row(odd.name + ', named .jpg', 'decoded' if code is None else f'refused: {code}')} 1 |"


def _workflows(folder: Path, cache: Path | None, good: Sequence[Kind], bad: Sequence[Kind]) -> Iterator[str]:
    (folder / "real").mkdir()
    classified, listed = predicted(trained(folder / "real", cache or folder / "cache"), [*good, *bad])
    yield f"{row('predict (the real command) on all of them', 'classified, exit code 3 for the others')} {classified} |"
    yield f"{row('predict (the real command) on all of them', 'listed with the code')} {listed} |"
    yield f"{row('all of them after predict', 'unchanged, byte for byte')} {classified + listed} |"
    compared = same_pixels(folder / "same", good, [kind for kind in bad if kind.sure])
    same = "the same pixels enter the backbone: difference 0"
    yield f"{row('valid ones in train, evaluate, predict and inspect', same)} {compared} |"


def main() -> None:
    """Prints the section and the slowest mutation."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(20_000, 0)[len(numbers) :]]
    for line in section(large=True):
        print(line)
    result = mutations.run(count, seed)
    print(f"{count} mutations of seed {seed}: the slowest took {result.slowest:.2f} s ({result.slowest_one})")


if __name__ == "__main__":
    main()
