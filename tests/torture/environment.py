"""Unusual environments: names of files and classes, closed streams, small limits, read-only folders.

python -m tests.torture.environment [WORD]    (only the cases whose name contains the word)
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
from tests.torture.setting import SOURCE, Done, Setting, bytes_of, codes_in, set_up, unprivileged

PREDICT = ("predict", "shapes/dark/1.png", "--config", "c.yaml")
TRAIN = ("train", "--config", "c.yaml", "--json")
INSPECT = ("inspect", "--config", "c.yaml")
CWD = "mkdir -p there && cd there && "
LOCKED = 'chmod -R a-w {0}; "$@"; code=$?; chmod -R u+w {0}; exit $code'


@dataclass(frozen=True)
class Case:
    """A command in an unusual environment."""

    name: str
    words: tuple[str, ...] = PREDICT
    """``{}`` stands for the folder of the setting."""
    shell: str = '"$@"'
    env: Mapping[str, str | None] = field(default_factory=dict)
    code: int = 0
    error: str = ""
    """The code of the error that stderr names."""
    says: str = ""
    """A value or a path that stdout or stderr contains."""
    large: bool = True
    """Only in the long trial."""
    make: Callable[[Path], object] = lambda folder: None

    @property
    def outcome(self) -> str:
        """As docs/reliability.md has it."""
        done = {0: "done", 141: "ended quietly (141)"}.get(self.code, f"exit {self.code}")
        return f"{done}: `{self.error}`" if self.error else done


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
ACCURACY = '"accuracy": '
CASES = (
    Case("locale C", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, says=DARK),
    Case("locale that does not exist", env={"LC_ALL": "xx_YY.UTF-8"}, says=DARK),
    Case("output in ASCII", env={"PYTHONIOENCODING": "ascii:strict"}, says=DARK),
    Case("HOME not set", env={"HOME": None}, says=DARK, large=False),
    Case("HOME that does not exist", env={"HOME": "/proc/nowhere"}, says=DARK),
    Case("HOME and cache that do not exist", words=TRAIN, says="/proc/nowhere",
         env={"HOME": "/proc/nowhere", "XDG_CACHE_HOME": None, "TLCLI_CACHE": None}, large=False),
    Case("cache that is a file", TRAIN, env={"TLCLI_CACHE": "file"}, make=_file, says=ACCURACY),
    Case("cache in the home of an unknown user", env={"TLCLI_CACHE": "~nobody-is-so/x"}, code=6,
         error="resource.no_home_folder", says="~nobody-is-so/x"),
    Case("--runs-dir in the home of an unknown user", ("runs", "--runs-dir", "~nobody-is-so/x"), code=2,
         error="usage.unknown_user", says="~nobody-is-so/x"),
    Case("--runs-dir ~/runs", ("runs", "--runs-dir", "~/runs"), env={"HOME": "{}"}, says="c/2"),
    Case("TMPDIR that does not exist", TRAIN, env={"TMPDIR": "/proc/nowhere"}, says=ACCURACY),
    Case("TMPDIR on a disk of 64 KB", TRAIN, shell=TINY, says=ACCURACY),
    Case("runs on another disk", (*TRAIN, "--runs-dir", "/dev/shm/tlcli-trial"), says=ACCURACY,
         shell='"$@"; code=$?; rm -rf /dev/shm/tlcli-trial; exit $code'),
    Case("labels table with Windows paths", (*TRAIN, "--set", "dataset.path=.", "--set",
         "dataset.labels={file: t.csv, path: file, label: kind}"), make=_table,
         says=ACCURACY, large=False),
    Case("TMPDIR on a disk of 64 KB, doctor", ("doctor",), shell=TINY, says="0 problems"),
    Case("TMPDIR that is a file", env={"TMPDIR": "file"}, make=_file, says=DARK),
    Case("terminal of 40 columns", ("runs",), env={"COLUMNS": "40"}, says="c/2", large=False),
    Case("terminal of 1 column", ("evaluate",), env={"COLUMNS": "1"}),
    Case("COLUMNS=rubbish", ("runs",), env={"COLUMNS": "rubbish"}, says="c/2"),
    Case("COLUMNS=-5", ("runs",), env={"COLUMNS": "-5"}, says="c/2"),
    Case("TERM=dumb and NO_COLOR", env={"TERM": "dumb", "NO_COLOR": "1"}, says=DARK),
    Case("stdout closed", shell='"$@" >&-', large=False),
    Case("stdin closed", shell='"$@" <&-', says=DARK),
    Case("stderr closed", shell='"$@" 2>&-', says=DARK),
    Case("all streams closed, train", TRAIN, shell='"$@" >&- 2>&- <&-', large=False),
    Case("all streams closed, inspect", INSPECT, shell='"$@" >&- 2>&- <&-'),
    Case("stdout closed, --json", (*PREDICT, "--json"), shell='"$@" >&-'),
    Case("reader that closes the pipe (| head -1)", ("config", "schema"), shell='"$@" | head -1 >/dev/null; exit 0'),
    Case("stdout full", (*PREDICT, "--json"), shell='"$@" >/dev/full', code=6, error="resource.disk_full",
         large=False),
    Case("stderr full", ("train", "--config", "none"), shell='"$@" 2>/dev/full', code=2),
    Case("PYTHONOPTIMIZE=2", TRAIN, env={"PYTHONOPTIMIZE": "2"}, says=ACCURACY),
    Case("PYTHONWARNINGS=error", TRAIN, env={"PYTHONWARNINGS": "error"}, says=ACCURACY),
    Case("umask 077", TRAIN, shell='umask 077; "$@"', says=ACCURACY),
    Case("umask 777", TRAIN, shell=unprivileged('umask 777; "$@"'), code=6, error="resource.system_error"),
    Case("64 open files", TRAIN, shell='ulimit -n 64; "$@"', says=ACCURACY),
    Case("3 GB of address space", shell='ulimit -v 3000000; "$@"', says=DARK),
    Case("files of 8 KB at most", TRAIN, shell='ulimit -f 8; "$@"', code=6,
         error="resource.write_failed"),
    Case("current folder deleted", ("runs", "--runs-dir", "{}/runs"), shell=CWD + 'rmdir ../there; "$@"', says="c/2"),
    Case("current folder deleted, train", ("train", "--config", "{}/c.yaml"), shell=CWD + 'rmdir ../there; "$@"',
         code=6, error="resource.no_working_directory", large=False),
    Case("current folder read-only, predict", ("predict", "{}/shapes/dark/1.png", "--runs-dir", "{}/runs"),
         shell=unprivileged(CWD + 'chmod a-w .; "$@"; code=$?; chmod u+w .; exit $code'), says="dark"),
    Case("current folder read-only, train", ("train", "--config", "{}/c.yaml", "--set", "dataset.path={}/shapes"),
         shell=unprivileged(CWD + 'chmod a-w .; "$@"; code=$?; chmod u+w .; exit $code'), code=6,
         error="resource.runs_dir_not_writable", large=False),
    Case("--runs-dir that is a file", (*TRAIN, "--runs-dir", "file"), make=_file, code=6,
         error="resource.runs_dir_not_writable"),
    Case("runs read-only, evaluate", ("evaluate",), shell=unprivileged(LOCKED.format("runs")), code=6,
         error="resource.system_error"),
    Case("runs and cache read-only, predict", shell=unprivileged(LOCKED.format('runs "$TLCLI_CACHE"')), says=DARK),
    Case("read-only images", TRAIN, shell=unprivileged(LOCKED.format("shapes")), says=ACCURACY),
    Case("times in the future", TRAIN, make=_future, says=ACCURACY),
    Case("latest is a folder", TRAIN, make=_latest, says=ACCURACY),
    Case("data through a linked folder and ..", (*TRAIN, "--set", "dataset.path=link/../shapes"), make=_linked,
         says=ACCURACY),
    Case("data folder is the current one", ("train", "--json", "--config", "{}/c.yaml", "--set", "dataset.path=.",
         "--runs-dir", "{}/other"), shell='cd shapes; "$@"', says=ACCURACY),
    Case("runs inside the data folder", (*TRAIN, "--runs-dir", "shapes/.runs"),
         shell='"$@"; code=$?; rm -r shapes/.runs; exit $code', says=ACCURACY),
    Case("two runs of one name at once", TRAIN, shell='"$@" --quiet & "$@"; code=$?; wait $!; exit $((code + $?))',
         says=ACCURACY),
    Case("fetch of a local folder", ("fetch", "--config", "c.yaml", "--from", "shapes"), says="shapes"),
)  # fmt: skip


def try_one(case: Case, setting: Setting) -> str:
    """Runs the command of a case; returns the outcome.

    Raises:
        AssertionError: another exit code than expected, a value is missing, or images changed.
    """
    case.make(setting.folder)
    before = bytes_of(setting.folder / "shapes")
    words = [word.replace("{}", str(setting.folder)) for word in case.words]
    env = {name: value and value.replace("{}", str(setting.folder)) for name, value in case.env.items()}
    done: Done = setting.run(*words, shell=case.shell, env=env)
    assert done.code == case.code, f"{case.name}: {done}"
    assert case.says in done.out + done.err, f"{case.name}: {done}"
    assert not case.error or codes_in(done.err) == [case.error], f"{case.name}: {done}"
    assert bytes_of(setting.folder / "shapes") == before, f"{case.name}: images were changed"
    return case.outcome


def many_files(setting: Setting, count: int) -> int:
    """Counts and trains on a class folder of ``count`` images (hard links to a few); returns the images counted."""
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
    assert json.loads(trained.out)["features"]["computed"] == 0  # all are copies of known images
    return sum(by_label["dark"] for by_label in json.loads(done.out)["images"].values())


def in_terminal(setting: Setting, *words: str, columns: int = 40) -> str:
    """Returns what a command shows on a real terminal of that width, without colours and cursor movements."""
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
    with suppress(OSError):  # EIO, once the other end is closed
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
    for words, says in ((("runs",), "c/2"), (PREDICT, "shapes/dark/1.png"), (TRAIN[:-1], "accuracy")):
        assert says in in_terminal(setting, *words), words
        yield f"{words[0]} on a real terminal of 40 columns", "done"


def section(large: bool) -> Iterator[str]:
    """The lines of docs/reliability.md."""
    cases = [case for case in CASES if large or not case.large]
    count = 100_000 if large else 2000
    with set_up() as setting:
        yield f"## Environments ({len(cases) + len(NAMED) + _NARROW + 1})"
        yield ""
        yield "Real commands on small images: the right exit code, the right result or one coded error, no traceback,"
        yield "and unchanged images. `python -m tests.torture.environment`"
        yield ""
        yield "| environment | outcome |"
        yield "| --- | --- |"
        for name, outcome in named(setting).items():
            yield row(name, outcome)
        for case in cases:
            yield row(case.name, try_one(case, setting))
        for name, outcome in narrow(setting):
            yield row(name, outcome)
        assert many_files(setting, count) == count
        yield row(f"{count:,} images in one folder", "all counted, within 4 GB of address space, and trained on")


def main() -> None:
    """Prints the outcomes."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    if not wanted:
        print("\n".join(section(large=True)))
        return
    with set_up() as setting:
        for case in CASES:
            if wanted in case.name:
                print(f"{case.name}: {try_one(case, setting)}")


if __name__ == "__main__":
    main()
