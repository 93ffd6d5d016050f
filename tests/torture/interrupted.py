"""Ctrl-C (SIGINT) and SIGTERM at random moments of real commands; then the same command finishes the work.

python -m tests.torture.interrupted [COUNT] [SEED]    (default: 100 with seed 0)

Each is sent to fetch, train, evaluate, inspect or predict at a moment between its start and its usual end, once or
twice in a row; where the command had ended before, at an earlier moment again. The command ends with 130 (143), one
line and no traceback; its results are complete or absent; and the same command then gives the result that it gives
without any interruption.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from time import monotonic, sleep

from tests.torture.setting import SOURCE, Setting, set_up

COMMANDS: dict[str, tuple[str, ...]] = {
    "fetch": ("fetch", "--config", "z.yaml", "--from", "z.zip"),
    "train": ("train", "--config", "c.yaml", "--set", "augment.views=3", "--json"),
    "evaluate": ("evaluate", "--run", "base", "--json"),
    "inspect": ("inspect", "--config", "c.yaml", "--json"),
    "predict": ("predict", "shapes", "--run", "base", "--json"),
}
"""The commands that are interrupted."""
SIGNALS = {130: signal.SIGINT, 143: signal.SIGTERM}
ENDED, STARTING = "had ended before", "Python was starting"
REUSED = "features kept and reused"
CLEAN = ("130, one line", "143, one line")
MOMENTS = 10
"""How many moments are tried until one hits the command at work."""
SAID = re.compile(r"Error \[interrupted\]: .*\nHint: ")
_OURS = re.compile(r'File "[^"]*/tlcli/(?!__main__|__init__|cli/__init__|cli/interrupts)')


class Trials:
    """Commands in one folder, interrupted or not."""

    def __init__(self, setting: Setting) -> None:
        self.folder = setting.folder
        self._environment = {
            **os.environ, "TLCLI_CACHE": str(setting.cache), "PYTHONPATH": str(SOURCE), "COLUMNS": "100",
        }  # fmt: skip
        with zipfile.ZipFile(self.folder / "z.zip", "w") as archive:
            for path in sorted((self.folder / "shapes").rglob("*.png")):
                archive.write(path, path.relative_to(self.folder))
        (self.folder / "z.yaml").write_text("dataset: {path: fetched}\n")
        next((self.folder / "runs" / "c").glob("2*")).rename(self.folder / "base")
        self.cache = setting.cache
        self.expected: dict[str, object] = {}
        self.seconds: dict[str, float] = {}

    def undisturbed(self) -> None:
        """Runs each command once: its result, and how long it takes."""
        for name in COMMANDS:
            self.clear(name)
            began = monotonic()
            code, out, err = self._ended(self._start(name))
            assert code == 0, err
            self.seconds[name] = monotonic() - began
            self.expected[name] = self.result(name, out)

    def clear(self, name: str) -> None:
        """As if the command had not run: no run, no data folder, no features."""
        for path in (self.folder / "fetched", self.folder / ".fetched.fetch", self.folder / "runs"):
            rmtree(path, ignore_errors=True)
        if name in ("train", "inspect"):
            rmtree(self.cache / "features", ignore_errors=True)

    def result(self, name: str, out: str) -> object:
        """Returns the result of the command, without times."""
        if name == "fetch":
            return sorted(path.name for path in (self.folder / "fetched").rglob("*.png"))
        given = json.loads(out)
        if name == "train":
            run = Path(given["run_dir"])
            return given["metrics"], (self.folder / run / "model" / "head.safetensors").read_bytes()
        if name == "inspect":
            return {key: value for key, value in given.items() if key not in ("page", "features", "seconds")}
        return given

    def _start(self, name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tlcli", *COMMANDS[name]]
        handlers = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS.values()}
        try:  # a background process of a script ignores Ctrl-C, and so would its children
            return subprocess.Popen(
                command, cwd=self.folder, env=self._environment, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _ended(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def interrupt(self, name: str, code: int, after: float, twice: bool, group: bool) -> str:
        """Interrupts a command; returns what it hit.

        Args:
            name: of the command.
            code: its exit code then.
            after: seconds from its start.
            twice: send it again 50 ms later.
            group: to all its processes, as a terminal does.
        """
        process = self._start(name)
        sleep(after)
        for _ in range(1 + twice):
            if process.poll() is None:
                (os.killpg if group else os.kill)(process.pid, SIGNALS[code])
                sleep(0.05)
        ended, _, err = self._ended(process)
        if ended == 0:
            return ENDED
        if ended in (1, -SIGNALS[code]) and not _OURS.search(err):
            return STARTING
        assert ended == code, f"{ended}: {err}"
        assert "Traceback" not in err, err
        assert SAID.search(err), err
        return CLEAN[code == 143]

    def again(self, name: str) -> int:
        """Runs the command without interruption: the result is the same; returns how many features were reused."""
        code, out, err = self._ended(self._start(name))
        assert code == 0, err
        assert self.result(name, out) == self.expected[name], f"{name} gives another result after an interruption"
        left = [path for path in self.folder.rglob("*.partial*") if path.is_dir()]
        assert not left, left
        return int(json.loads(out)["features"]["reused"]) if name == "train" else 0


def run(count: int, seed: int = 0, cache: Path | None = None) -> dict[str, Counter[str]]:
    """Interrupts that often; returns for each command how it ended, how often.

    Raises:
        AssertionError: it ended otherwise; with the number of the trial and the seed.
    """
    choose = random.Random(seed)
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in COMMANDS}
    with set_up(cache) as setting:
        trials = Trials(setting)
        trials.undisturbed()
        for number in range(count):
            name = list(COMMANDS)[number % len(COMMANDS)]
            code = 143 if choose.random() < 0.2 else 130
            twice, group = choose.random() < 0.3, choose.random() < 0.5
            before = trials.seconds[name]
            for _ in range(MOMENTS):  # where it had ended, an earlier moment, so that each hits a running command
                after = choose.uniform(0.05, before)
                trials.clear(name)
                try:
                    seen = trials.interrupt(name, code, after, twice, group)
                    outcomes[name][seen] += 1
                    if trials.again(name):
                        outcomes[name][REUSED] += 1
                except AssertionError as error:
                    what = f"{name} after {after:.2f} s, {code}, twice: {twice}, group: {group}"
                    raise AssertionError(f"number {number} of seed {seed} ({what}): {error}") from error
                if seen in CLEAN:
                    break
                before = after if seen == ENDED else before
    return outcomes


def section(large: bool, seed: int = 0) -> Iterator[str]:
    """Yields the section of docs/reliability.md."""
    count = 100 if large else 8
    outcomes = run(count, seed)
    yield f"## Interrupted ({count})"
    yield ""
    yield "SIGINT (SIGTERM in a fifth) at random moments of real commands, some twice in a row, some to all their"
    yield "processes; where the command had ended before, an earlier moment was tried too. Each ended with 130 (143),"
    yield "one line and no traceback, or had ended; the same command then gave the result that it gives without any"
    yield f"interruption. `python -m tests.torture.interrupted {count} {seed}`"
    yield ""
    yield "| command | interrupted | 130 or 143, one line | had ended before | Python was starting | reused then |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, seen in outcomes.items():
        clean = sum(seen[kind] for kind in CLEAN)
        ended, starting = seen[ENDED], seen[STARTING]
        reused = f"{seen[REUSED]} times" if name == "train" else ""
        yield f"| {name} | {clean + ended + starting} | {clean} | {ended} | {starting} | {reused} |"


def main() -> None:
    """Prints the outcomes."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, seed = [*numbers, *(100, 0)[len(numbers) :]]
    for name, seen in run(count, seed).items():
        print(name, dict(seen))


if __name__ == "__main__":
    main()
