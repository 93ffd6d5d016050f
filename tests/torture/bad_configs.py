"""Wrong configs: those of the catalogue, and thousands of mutated good ones; each is read, or refused by line.

python -m tests.torture.bad_configs [COUNT] [SEED]    (default: 5,000 made with seed 0)
"""

import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.bad_config_texts import BAD, BAD_OVERRIDES, GOOD

from tlcli.config.load import dump_config, load_config
from tlcli.config.problems import ConfigError
from tlcli.config.shipped import shipped_configs

BAD_BYTES: dict[str, tuple[bytes, int | None, str]] = {
    "UTF-16": (GOOD.encode("utf-16"), 1, "config.not_utf8"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), 1, "config.not_yaml"),
    "UTF-32": (GOOD.encode("utf-32"), 1, "config.not_utf8"),
    "Latin-1": ("dataset:\n  path: café\n".encode("latin-1"), 2, "config.not_utf8"),
    "cut within a character": ("dataset:\n  path: é".encode()[:-1], 2, "config.not_utf8"),
    "half a character": (b"dataset:\n  path: \xed\xa0\x80\n", 2, "config.not_utf8"),
    "character in too many bytes": (b"dataset:\n  path: \xc0\xaf\n", 2, "config.not_utf8"),
    "NUL": (b"dataset:\n  path: a\0b\n", 2, "config.not_yaml"),
    "NULs, as after a crash": (bytes(4096), 1, "config.not_yaml"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(99), 1, "config.not_utf8"),
    "zip": (b"PK\x03\x04" + bytes(99), 1, "config.not_yaml"),
    "10 MB of comment": (GOOD.encode() + b"#" * 10_000_000, 1, "config.too_large"),
    "10 MB of keys": (b"k: {" + b"a: 1, " * 1_700_000 + b"}", 1, "config.too_large"),
    "300,000 brackets": (b"dataset: " + b"[" * 300_000, 1, "config.not_yaml"),
    "900 KB of one line": (b"dataset: {path: x}\nx" * 47_000, None, "config.not_yaml"),
}
"""Files that no text editor wrote: the bytes, the line that is reported (None: any), and the code."""

STRANGE = [*"abc019 \t\n\r:-[]{}#&*!|>'\"%@`,?$~.\\\x00\x07=<_/+", "\ufeff", "\u2028", "\u0301", "\u200b", "é", "😀"]
WORDS = (
    "null ~ '' [] {} [[1]] -1 0x1F 1e400 .nan -.inf 1e-3 true no *a | << 2020-99-99 $TLCLI_NOT_SET = @ ~nobody-is-so"
)
VALUES = [*WORDS.split(), "9" * 30, "-0.0", "{a: 1}", "&a b", "!!int x", "!!set {a}", "!!python/name:os.system", "'3'"]
KEY = re.compile(r"^( *(?:- )?)([a-z_0-9]+):", re.MULTILINE)

Change = Callable[[list[str], random.Random], None]
"""Changes a file's lines in place."""


def _lose(lines: list[str], choose: random.Random) -> None:
    del lines[choose.randrange(len(lines))]


def _double(lines: list[str], choose: random.Random) -> None:
    number = choose.randrange(len(lines))
    lines.insert(choose.randrange(len(lines)), lines[number])


def _swap(lines: list[str], choose: random.Random) -> None:
    one, other = choose.randrange(len(lines)), choose.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _shift(lines: list[str], choose: random.Random) -> None:
    number = choose.randrange(len(lines))
    lines[number] = " " * choose.randrange(7) + lines[number].lstrip(" ")


def _uncomment(lines: list[str], choose: random.Random) -> None:
    commented = [number for number, line in enumerate(lines) if "#" in line] or [0]
    number = choose.choice(commented)
    lines[number] = lines[number].replace("#", "", 1)


def _characters(lines: list[str], choose: random.Random) -> None:
    number = choose.randrange(len(lines))
    line, strange = lines[number], "".join(choose.choices(STRANGE, k=choose.randint(1, 3)))
    at = choose.randrange(len(line) + 1)
    lines[number] = line[:at] + strange + line[at + choose.randrange(3) :]


def _keyed(lines: list[str], choose: random.Random) -> tuple[int, re.Match[str]] | None:
    found = [(number, key) for number, line in enumerate(lines) if (key := KEY.match(line))]
    return choose.choice(found) if found else None


def _value(lines: list[str], choose: random.Random) -> None:
    if chosen := _keyed(lines, choose):
        lines[chosen[0]] = f"{chosen[1][0]} {choose.choice(VALUES)}\n"


def _misspell(lines: list[str], choose: random.Random) -> None:
    if chosen := _keyed(lines, choose):
        number, key = chosen
        letters = list(key[2])
        at = choose.randrange(len(letters))
        letters[at : at + choose.randint(1, 2)] = choose.choice(["", "x", letters[at] * 2, letters[at].upper(), "-"])
        lines[number] = f"{key[1]}{''.join(letters)}:{lines[number][key.end() :]}"


def _unknown(lines: list[str], choose: random.Random) -> None:
    if chosen := _keyed(lines, choose):
        lines.insert(chosen[0], f"{chosen[1][1]}{choose.choice(['lr', 'model', '3', '*x', 'é'])}: 1\n")


def _nest(lines: list[str], choose: random.Random) -> None:
    if chosen := _keyed(lines, choose):
        deep = choose.randint(2, 3000)
        lines[chosen[0]] = f"{chosen[1][0]} {choose.choice(['[', '{a: ']) * deep}\n"


def _number(lines: list[str], choose: random.Random) -> None:
    if chosen := _keyed(lines, choose):
        digits = "".join(choose.choices("0123456789", k=choose.choice([1, 5, 20, 400, 5000])))
        lines[chosen[0]] = f"{chosen[1][0]} {choose.choice(['', '-', '0.', '1e', '-1e'])}{digits}\n"


CHANGES: dict[str, Change] = {
    "line lost": _lose, "line duplicated": _double, "lines swapped": _swap, "line shifted": _shift,
    "comment marker lost": _uncomment, "odd characters": _characters, "other value": _value,
    "key misspelled": _misspell, "unknown key": _unknown, "nested deep": _nest, "odd number": _number,
}  # fmt: skip
BYTES = "bytes changed"


def good_texts() -> list[str]:
    """The shipped configs, as they are and with every default written out."""
    paths = shipped_configs().values()
    whole = [dump_config(load_config(path).config.with_backbone_defaults()) for path in paths]
    return [*(path.read_text(encoding="utf-8") for path in paths), *whole]


def changed(texts: list[str], choose: random.Random) -> tuple[str, bytes]:
    """A good config after one to three changes of one kind: the kind, and the file."""
    text, kind = choose.choice(texts), choose.choice([*CHANGES, BYTES])
    lines = text.splitlines(keepends=True)
    if kind in CHANGES:
        for _ in range(choose.randint(1, 3)):
            CHANGES[kind](lines, choose)
        return kind, "".join(lines).encode()
    data = bytearray(text.encode())
    for _ in range(choose.randint(1, 8)):
        data[choose.randrange(len(data))] = choose.randrange(256)
    return kind, bytes(data)


def reading(path: Path, *overrides: str) -> ConfigError | None:
    """What is wrong with a config; None of a good one.

    Raises:
        AssertionError: it raises anything else, or a problem has no code, no message or no line of the file.
    """
    try:
        load_config(path, overrides)
    except ConfigError as error:
        found = error
    except Exception as error:
        raise AssertionError(f"{error!r} is no refusal") from error
    else:
        return None
    assert found.exit_code == 2
    assert found.problems
    text = path.read_bytes().decode(errors="replace")
    lines = len(re.findall("\r\n|[\r\n\x85\u2028\u2029]", text)) + 1  # as YAML counts them
    for problem in found.problems:
        source, line = problem.place
        assert (source == str(path) and 1 <= (line or 0) <= lines) or source.startswith("--set "), problem
        assert re.fullmatch(r"config\.[a-z0-9_]+", problem.code), problem
        assert problem.message.endswith((".", "?")), problem
    return found


def by_hand(folder: Path) -> int:
    """Tries the catalogue; returns the number of its entries."""
    path = folder / "c.yaml"
    for name, (text, expected) in BAD.items():
        path.write_text(text, encoding="utf-8", newline="")
        error = reading(path)
        assert error, f"{name}: was read"
        seen = [(one.place.line, one.key, one.code) for one in error.problems]
        assert seen == [(line, key, code) for line, key, code, _ in expected], f"{name}: {error}"
        assert all(value in one.message for one, (*_, value) in zip(error.problems, expected, strict=True)), name
    for name, (data, line, code) in BAD_BYTES.items():
        path.write_bytes(data)
        error = reading(path)
        assert error, f"{name}: was read"
        assert [one.code for one in error.problems] == [code], f"{name}: {error}"
        assert line in (None, error.problems[0].place.line), f"{name}: {error}"
    path.write_text(GOOD + "  classes: [a, b]\n", encoding="utf-8")
    for name, (override, key, code, value) in BAD_OVERRIDES.items():
        error = reading(path, override)
        assert error, f"{name}: was read"
        assert [(one.key, one.code) for one in error.problems] == [(key, code)], f"{name}: {error}"
        assert value in error.problems[0].message, f"{name}: {error}"
    return len(BAD) + len(BAD_BYTES) + len(BAD_OVERRIDES)


def generated(folder: Path, count: int, seed: int) -> dict[str, Counter[str]]:
    """Mutates good configs and reads them: for each kind of change, how many were read and how many refused."""
    choose, texts, path = random.Random(seed), good_texts(), folder / "c.yaml"
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in sorted([*CHANGES, BYTES])}
    for number in range(count):
        kind, data = changed(texts, choose)
        path.write_bytes(data)
        try:
            outcomes[kind]["refused" if reading(path) else "read"] += 1
        except AssertionError as error:
            raise AssertionError(f"number {number} of seed {seed} ({kind}): {error}\n{data!r}") from error
    return outcomes


def section(large: bool, seed: int = 0) -> Iterator[str]:
    """The lines of docs/reliability.md."""
    count = 5000 if large else 600
    with tempfile.TemporaryDirectory() as folder:
        hand, outcomes = by_hand(Path(folder)), generated(Path(folder), count, seed)
    yield f"## Wrong configs ({hand} by hand, {count:,} mutated)"
    yield ""
    yield f"All {hand} of the catalogue are refused with exit code 2, and file, line and code of every problem. Of the"
    yield "mutated good configs, each was read as a valid one, or refused in the same way; none ended in a traceback."
    yield f"`python -m tests.torture.bad_configs {count} {seed}`"
    yield ""
    yield "| change | mutated | still valid | refused with file:line |"
    yield "| --- | ---: | ---: | ---: |"
    for kind, seen in outcomes.items():
        yield f"| {kind} | {seen.total()} | {seen['read']} | {seen['refused']} |"


def main() -> None:
    """Prints the outcomes."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(5000, 0)[len(numbers) :]]
    with tempfile.TemporaryDirectory() as folder:
        print(f"{by_hand(Path(folder))} of the catalogue refused, each problem with file and line")
        for kind, seen in generated(Path(folder), count, seed).items():
            print(f"  {kind:20} {seen['read']:5} read {seen['refused']:5} refused")


if __name__ == "__main__":
    main()
