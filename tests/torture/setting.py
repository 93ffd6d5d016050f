"""A folder of small images with a run, and real commands in it under odd circumstances."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

LEVELS = {"dark": 60, "light": 190}
CODES = frozenset({0, 1, 2, 3, 4, 5, 6, 130, 141, 143})
SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Setting:
    """Images in ``shapes``, ``c.yaml`` for them, and a run of it that was evaluated."""

    folder: Path
    cache: Path

    def run(
        self,
        *words: object,
        shell: str = '"$@"',
        env: Mapping[str, str | None] = {},
        cwd: Path | None = None,
        data: bytes | None = None,
    ) -> Done:
        """Runs ``tlcli WORDS`` by a shell; no traceback, and no claim of a bug, is ever right.

        Args:
            words: of the command line.
            shell: how the command is run, which is ``"$@"`` there.
            env: variables to set, or to remove (None).
            cwd: where; without it the setting's folder.
            data: what stands on stdin.
        """
        given = {**os.environ, "TLCLI_CACHE": str(self.cache), "PYTHONPATH": str(SOURCE), "COLUMNS": "100", **env}
        command = ["bash", "-c", shell, "bash", sys.executable, "-m", "tlcli", *map(str, words)]
        done = subprocess.run(
            command, cwd=cwd or self.folder, env={k: v for k, v in given.items() if v is not None},
            input=data, capture_output=True, check=False, timeout=300,
        )  # fmt: skip
        ended = Done(done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr)))
        assert "Traceback" not in ended.err, ended.err
        assert "internal.bug" not in codes_in(ended.err), ended.err
        assert ended.code in CODES, ended
        return ended


def draw(path: Path, level: int, number: int) -> Path:
    """An image of noise around a level, another for each number."""
    random = np.random.default_rng((level, number))
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(random.normal(level, 40, (48, 64, 3)), 0, 255).astype(np.uint8)
    with path.open("wb") as file:
        Image.fromarray(pixels).save(file, "png")
    return path


def write_config(path: Path, root: object, more: str = "") -> Path:
    """A config with a small random network."""
    path.write_text(
        f"dataset:\n  path: {json.dumps(str(root))}\n{more}image: {{size: 64}}\n"
        "backbone: {name: mobilenet_v2, weights: random}\nhead: {Cs: [0.1, 1]}\n"
        "evaluate: {cross_validation: {repeats: 1, folds: 2}}\n",
        encoding="utf-8",
    )
    return path


def bytes_of(root: Path) -> dict[bytes, str]:
    """Digest of every file, by path: inputs stay as they are."""
    return {
        os.fsencode(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@contextmanager
def set_up(cache: Path | None = None) -> Iterator[Setting]:
    """A new setting; with a cache that has the network already it is made sooner."""
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        setting = Setting(folder, cache or folder / "cache")
        for label, level in LEVELS.items():
            for number in range(12):
                draw(folder / "shapes" / label / f"{number}.png", level, number)
        write_config(folder / "c.yaml", "shapes")
        for words in (["train", "--config", "c.yaml"], ["evaluate"]):
            done = setting.run(*words)
            assert done.code == 0, done.err
        yield setting


def codes_in(said: str) -> list[str]:
    """The codes of the errors on stderr, in their order."""
    return re.findall(r"^Error \[([a-z0-9_.]+)\]: ", said, re.MULTILINE)


def unprivileged(words: str = '"$@"') -> str:
    """A shell line that runs the command without root's power over permissions."""
    if os.geteuid() != 0:
        return words
    return words.replace('"$@"', 'setpriv --bounding-set=-all --inh-caps=-all "$@"')
