"""Odd surroundings: names of files and classes, closed streams, small limits, places that cannot be written.

python -m tests.torture.environment [WORD]    (only the traps whose name holds the word)
"""

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability import row
from tests.torture.names import NAMED, named
from tests.torture.setting import SOURCE, Done, Setting, bytes_of, set_up, unprivileged

PREDICT = ("predict", "shapes/dark/1.png", "--config", "c.yaml")
TRAIN = ("train", "--config", "c.yaml")
INSPECT = ("inspect", "--config", "c.yaml")
CWD = "mkdir -p there && cd there && "
LOCKED = 'chmod -R a-w {0}; "$@"; code=$?; chmod -R u+w {0}; exit $code'


@dataclass(frozen=True)
class Trap:
    """A command under odd circumstances."""

    name: str
    words: tuple[str, ...] = PREDICT
    """``{}`` stands for the setting's folder."""
    shell: str = '"$@"'
    env: Mapping[str, str | None] = field(default_factory=dict)
    code: int = 0
    says: str = ""
    """What stands in stdout or stderr."""
    large: bool = True
    """Only in the long trial."""
    make: Callable[[Path], object] = lambda folder: None

    @property
    def outcome(self) -> str:
        """For people."""
        done = {0: "done", 141: "ended quietly (141)"}.get(self.code, f"exit {self.code}")
        return f"{done}: {self.says}" if self.says and self.code else done


def _file(folder: Path) -> None:
    (folder / "file").write_text("somebody's")


def _future(folder: Path) -> None:
    for path in (folder / "shapes").rglob("*.png"):
        os.utime(path, (4e9, 4e9))


def _latest(folder: Path) -> None:
    link = folder / "runs" / "latest"
    if link.is_symlink():
        link.unlink()
        link.mkdir()
        (link / "notes.txt").write_text("mine")


def _linked(folder: Path) -> None:
    if not (folder / "link").is_symlink():
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "link").symlink_to(folder / "deep" / "er", target_is_directory=True)
        (folder / "deep" / "shapes").symlink_to(folder / "shapes", target_is_directory=True)


def _table(folder: Path) -> None:
    images = sorted((folder / "shapes").rglob("*.png"))
    lines = ["file,kind", *(f"shapes\\{one.parent.name}\\{one.name},{one.parent.name}" for one in images)]
    (folder / "t.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))


TINY = (
    "mkdir -p tiny; mount -t tmpfs -o size=64k none tiny 2>/dev/null; "  # without root it stays a plain folder
    'TMPDIR=$PWD/tiny "$@"; code=$?; umount tiny 2>/dev/null; exit $code'
)
_NARROW = 4
"""Commands on a real terminal."""
DARK = "dark   shapes/dark/1.png"
TRAPS = (
    Trap("locale C", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, says=DARK),
    Trap("locale that is not there", env={"LC_ALL": "xx_YY.UTF-8"}, says=DARK),
    Trap("output in ASCII", env={"PYTHONIOENCODING": "ascii:strict"}, says=DARK),
    Trap("HOME not set", env={"HOME": None}, says=DARK, large=False),
    Trap("HOME that is not there", env={"HOME": "/proc/nowhere"}, says=DARK),
    Trap("HOME and cache that are not there", words=TRAIN, says="cannot be written",
         env={"HOME": "/proc/nowhere", "XDG_CACHE_HOME": None, "TLCLI_CACHE": None}, large=False),
    Trap("cache that is a file", TRAIN, env={"TLCLI_CACHE": "file"}, make=_file, says="file cannot be written"),
    Trap("cache in the home of nobody", env={"TLCLI_CACHE": "~nobody-is-so/x"}, code=6, says="There is no home folder"),
    Trap("--runs-dir in the home of nobody", ("runs", "--runs-dir", "~nobody-is-so/x"), code=2,
         says="There is no home folder"),
    Trap("--runs-dir ~/runs", ("runs", "--runs-dir", "~/runs"), env={"HOME": "{}"}, says="c/2"),
    Trap("TMPDIR that is not there", TRAIN, env={"TMPDIR": "/proc/nowhere"}, says="Validation accuracy"),
    Trap("TMPDIR on a disk of 64 KB", TRAIN, shell=TINY, says="Validation accuracy"),
    Trap("runs on another disk", (*TRAIN, "--runs-dir", "/dev/shm/tlcli-trial"), says="Validation accuracy",
         shell='"$@"; code=$?; rm -rf /dev/shm/tlcli-trial; exit $code'),
    Trap("labels table with Windows paths", (*TRAIN, "--set", "dataset.path=.", "--set",
         "dataset.labels={file: t.csv, path: file, label: kind}"), make=_table,
         says="Validation accuracy", large=False),
    Trap("TMPDIR on a disk of 64 KB, doctor", ("doctor",), shell=TINY, code=6, says="set TMPDIR to another folder"),
    Trap("TMPDIR that is a file", env={"TMPDIR": "file"}, make=_file, says=DARK),
    Trap("terminal of 40 columns", ("runs",), env={"COLUMNS": "40"}, says="c/2", large=False),
    Trap("terminal of 1 column", ("evaluate",), env={"COLUMNS": "1"}, says="Test accuracy"),
    Trap("COLUMNS=rubbish", ("runs",), env={"COLUMNS": "rubbish"}, says="c/2"),
    Trap("COLUMNS=-5", ("runs",), env={"COLUMNS": "-5"}, says="c/2"),
    Trap("TERM=dumb and NO_COLOR", env={"TERM": "dumb", "NO_COLOR": "1"}, says=DARK),
    Trap("stdout closed", shell='"$@" >&-', large=False),
    Trap("stdin closed", shell='"$@" <&-', says=DARK),
    Trap("stderr closed", shell='"$@" 2>&-', says=DARK),
    Trap("all streams closed, train", TRAIN, shell='"$@" >&- 2>&- <&-', large=False),
    Trap("all streams closed, inspect", INSPECT, shell='"$@" >&- 2>&- <&-'),
    Trap("stdout closed, --json", (*PREDICT, "--json"), shell='"$@" >&-'),
    Trap("reader that goes away (| head -1)", ("config", "schema"), shell='"$@" | head -1 >/dev/null; exit 0'),
    Trap("stdout full", (*PREDICT, "--json"), shell='"$@" >/dev/full', code=6, says="No space left on device",
         large=False),
    Trap("stderr full", ("train", "--config", "none"), shell='"$@" 2>/dev/full', code=2),
    Trap("PYTHONOPTIMIZE=2", TRAIN, env={"PYTHONOPTIMIZE": "2"}, says="Validation accuracy"),
    Trap("PYTHONWARNINGS=error", TRAIN, env={"PYTHONWARNINGS": "error"}, says="Validation accuracy"),
    Trap("umask 077", TRAIN, shell='umask 077; "$@"', says="Validation accuracy"),
    Trap("umask 777", TRAIN, shell=unprivileged('umask 777; "$@"'), code=6, says="Permission denied"),
    Trap("64 open files", TRAIN, shell='ulimit -n 64; "$@"', says="Validation accuracy"),
    Trap("3 GB of address space", shell='ulimit -v 3000000; "$@"', says=DARK),
    Trap("files of 8 KB at most", TRAIN, shell='ulimit -f 8; "$@"', code=6, says="File too large"),
    Trap("current folder deleted", ("runs", "--runs-dir", "{}/runs"), shell=CWD + 'rmdir ../there; "$@"', says="c/2"),
    Trap("current folder deleted, train", ("train", "--config", "{}/c.yaml"), shell=CWD + 'rmdir ../there; "$@"',
         code=6, says="The current folder was removed", large=False),
    Trap("current folder read-only, predict", ("predict", "{}/shapes/dark/1.png", "--runs-dir", "{}/runs"),
         shell=unprivileged(CWD + 'chmod a-w .; "$@"; code=$?; chmod u+w .; exit $code'), says="dark"),
    Trap("current folder read-only, train", ("train", "--config", "{}/c.yaml", "--set", "dataset.path={}/shapes"),
         shell=unprivileged(CWD + 'chmod a-w .; "$@"; code=$?; chmod u+w .; exit $code'), code=6,
         says="choose --runs-dir", large=False),
    Trap("--runs-dir that is a file", (*TRAIN, "--runs-dir", "file"), make=_file, code=6, says="choose --runs-dir"),
    Trap("runs read-only, evaluate", ("evaluate",), shell=unprivileged(LOCKED.format("runs")), code=6,
         says="Permission denied"),
    Trap("runs and cache read-only, predict", shell=unprivileged(LOCKED.format('runs "$TLCLI_CACHE"')), says=DARK),
    Trap("images read-only", TRAIN, shell=unprivileged(LOCKED.format("shapes")), says="Validation accuracy"),
    Trap("times in the future", TRAIN, make=_future, says="Validation accuracy"),
    Trap("latest is a folder", TRAIN, make=_latest, says="Validation accuracy"),
    Trap("data by a linked folder and ..", (*TRAIN, "--set", "dataset.path=link/../shapes"), make=_linked,
         says="Validation accuracy"),
    Trap("data folder is the current one", ("train", "--config", "{}/c.yaml", "--set", "dataset.path=.", "--runs-dir",
         "{}/other"), shell='cd shapes; "$@"', says="Validation accuracy"),
    Trap("runs inside of the data folder", (*TRAIN, "--runs-dir", "shapes/.runs"),
         shell='"$@"; code=$?; rm -r shapes/.runs; exit $code', says="Validation accuracy"),
    Trap("two runs of one name at once", TRAIN, shell='"$@" --quiet & "$@"; code=$?; wait $!; exit $((code + $?))',
         says="Validation accuracy"),
    Trap("fetch of a local folder", ("fetch", "--config", "c.yaml", "--from", "shapes"), says="used in place"),
)  # fmt: skip


def try_one(trap: Trap, setting: Setting) -> str:
    """Springs a trap; gives the outcome.

    Raises:
        AssertionError: another exit code or other words than expected, or images changed.
    """
    trap.make(setting.folder)
    before = bytes_of(setting.folder / "shapes")
    words = [word.replace("{}", str(setting.folder)) for word in trap.words]
    env = {name: value and value.replace("{}", str(setting.folder)) for name, value in trap.env.items()}
    done: Done = setting.run(*words, shell=trap.shell, env=env)
    assert done.code == trap.code, f"{trap.name}: {done}"
    assert trap.says in done.out + done.err, f"{trap.name}: {done}"
    assert bytes_of(setting.folder / "shapes") == before, f"{trap.name}: images were changed"
    return trap.outcome


def many_files(setting: Setting, count: int) -> int:
    """A class folder of ``count`` images (hard links to a few) is counted and trained on; gives the images seen."""
    root = setting.folder / "many"
    originals = {label: sorted((setting.folder / "shapes" / label).iterdir()) for label in ("dark", "light")}
    for label, files in originals.items():
        (root / label).mkdir(parents=True)
        for number in range(count if label == "dark" else len(files)):
            os.link(files[number % len(files)], root / label / f"{number:06}.png")
    given = ("--config", "c.yaml", "--set", "dataset.path=many", "--json")
    done = setting.run("fetch", *given, shell='ulimit -v 4000000; "$@"')
    assert done.code == 0, done.err
    trained = setting.run("train", *given)
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["features"]["computed"] == 0  # all are copies of images that were seen before
    return sum(by_label["dark"] for by_label in json.loads(done.out)["images"].values())


def in_terminal(setting: Setting, *words: str, columns: int = 40) -> str:
    """What a command shows on a real terminal of that width, without colours and cursor movements."""
    import fcntl
    import pty
    import termios

    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {**os.environ, "TLCLI_CACHE": str(setting.cache), "PYTHONPATH": str(SOURCE), "TERM": "xterm-256color"}
    given.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "tlcli", *words], cwd=setting.folder, env=given, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    shown = bytearray()
    with suppress(OSError):  # EIO, once nobody holds the other end
        while data := os.read(ours, 1 << 16):
            shown += data
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode().replace("\r\n", "\n"))
    assert process.wait(60) == 0, text
    assert "Traceback" not in text, text
    return text


def narrow(setting: Setting) -> Iterator[tuple[str, str]]:
    """Commands on a real terminal of 40 columns."""
    shown = in_terminal(setting, "doctor", "--no-self-test")
    wide = [line for line in shown.splitlines() if len(line.rpartition("\r")[2]) > 40]
    assert not wide, wide
    yield "doctor on a real terminal of 40 columns", "no line is wider"
    for words, says in ((("runs",), "c/2"), (PREDICT, "shapes/dark/1.png"), (TRAIN, "Validation accuracy")):
        assert says in in_terminal(setting, *words), words
        yield f"{words[0]} on a real terminal of 40 columns", "done"


def section(large: bool) -> Iterator[str]:
    """The lines of docs/reliability.md."""
    traps = [trap for trap in TRAPS if large or not trap.large]
    count = 100_000 if large else 2000
    with set_up() as setting:
        yield f"## Surroundings ({len(traps) + len(NAMED) + _NARROW + 1})"
        yield ""
        yield "Real commands on small images: the right exit code, the right answer or one sentence, no traceback,"
        yield "and images that stay as they are. `python -m tests.torture.environment`"
        yield ""
        yield "| what | outcome |"
        yield "| --- | --- |"
        for name, outcome in named(setting).items():
            yield row(name, outcome)
        for trap in traps:
            yield row(trap.name, try_one(trap, setting))
        for name, outcome in narrow(setting):
            yield row(name, outcome)
        assert many_files(setting, count) == count
        yield row(f"{count:,} images in one folder", "all counted, within 4 GB of address space, and trained on")


def main() -> None:
    """Prints what was seen."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    if not wanted:
        print("\n".join(section(large=True)))
        return
    with set_up() as setting:
        for trap in TRAPS:
            if wanted in trap.name:
                print(f"{trap.name}: {try_one(trap, setting)}")


if __name__ == "__main__":
    main()
