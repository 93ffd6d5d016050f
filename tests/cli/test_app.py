"""main(), the one place where errors end: exit codes, one sentence each, no traceback unless asked."""

import errno
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import typer

import tlcli
from tlcli.cli.app import app, main
from tlcli.config.problems import ConfigError, Mistake
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError, TlcliError, UsageError

Run = Callable[..., tuple[int, str, str]]
BUG = f"Error: This is a bug in tlcli {tlcli.__version__}: "
INTERRUPTED = "Error: Interrupted. What was computed is kept; the same command goes on from there.\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``tlcli ARGUMENTS`` in this process: exit code, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlcli", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Adds the command ``fail``, which raises what it is given."""
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])

    def add(error: BaseException) -> None:
        @app.command("fail")
        def fail(debug: bool = False) -> None:
            raise error

    return add


def process(
    folder: Path, *arguments: str, stdout: IO[bytes] | int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[bytes]:
    """``tlcli ARGUMENTS`` as a process of its own, whose output is buffered as it is by default."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONUNBUFFERED", None)
    command = [sys.executable, "-m", "tlcli", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=subprocess.PIPE)


EXPECTED: list[tuple[TlcliError, int]] = [
    (TlcliError("t"), 1),
    (UsageError("u"), 2),
    (ConfigError([Mistake("c.yaml:3", "train.epochs", "wrong"), Mistake("c.yaml:4", "", "bad")]), 2),
    (DataError("d"), 3),
    (NetworkError("n"), 4),
    (ModelError("m"), 5),
    (ResourceError("r"), 6),
]


@pytest.mark.parametrize(("error", "code"), EXPECTED, ids=[type(error).__name__ for error, _ in EXPECTED])
def test_expected_error_is_its_message_and_its_code(
    run: Run, raising: Callable[[BaseException], None], error: TlcliError, code: int
) -> None:
    raising(error)
    assert run("fail") == (code, "", f"Error: {error}\n")


def test_subclass_keeps_the_code_of_its_kind() -> None:
    kinds = {kind.__name__: kind.exit_code for kind in TlcliError.__subclasses__()}
    assert kinds == {"UsageError": 2, "DataError": 3, "NetworkError": 4, "ModelError": 5, "ResourceError": 6}
    assert ConfigError([]).exit_code == 2


def test_message_is_printed_as_it_is(run: Run, raising: Callable[[BaseException], None]) -> None:
    message = r"C:\images\[/bold] [red]x[/red] 'a' 12.5 /a/b c\ " + "long " * 60
    raising(DataError(message.rstrip()))
    assert run("fail")[2] == f"Error: {message.rstrip()}\n"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("odd"), KeyError("odd"), ValueError("odd"), AssertionError("odd"), FileNotFoundError(2, "odd")],
)
def test_anything_else_is_a_bug_with_how_to_report_it(
    run: Run, raising: Callable[[BaseException], None], error: Exception
) -> None:
    raising(error)
    code, out, err = run("fail")
    assert (code, out) == (1, "")
    assert err.startswith(f"{BUG}{type(error).__name__}: ")
    assert "odd" in err
    assert err.endswith("Please report it with the command you ran and what it prints with --debug.\n")
    assert "Traceback" not in err


def test_memory_that_runs_out_is_no_bug(run: Run, raising: Callable[[BaseException], None]) -> None:
    raising(MemoryError())
    code, _, err = run("fail")
    assert (code, err) == (6, "Error: Out of memory; close other programs or use a machine with more.\n")


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM, errno.EFBIG]
)
@pytest.mark.parametrize("file", ["runs/x", None])
def test_disk_that_fails_is_no_bug(
    run: Run, raising: Callable[[BaseException], None], number: int, file: str | None
) -> None:
    raising(OSError(number, os.strerror(number), file))
    where = f": {file}" if file else ""
    assert run("fail") == (6, "", f"Error: {os.strerror(number)}{where}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()], ids=["Ctrl-C", "abort"])
def test_interrupt_ends_with_130_and_one_sentence(
    run: Run, raising: Callable[[BaseException], None], error: BaseException
) -> None:
    raising(error)
    assert run("fail") == (130, "", INTERRUPTED)


@pytest.mark.parametrize("code", [0, 3, 77])
def test_command_can_end_with_a_code_of_its_own(
    run: Run, raising: Callable[[BaseException], None], code: int
) -> None:  # fmt: skip
    raising(typer.Exit(code))
    assert run("fail") == (code, "", "")


def test_exit_from_below_is_passed_on(run: Run, raising: Callable[[BaseException], None]) -> None:
    raising(SystemExit(9))
    assert run("fail") == (9, "", "")


# --debug


@pytest.mark.parametrize(
    ("error", "code"), [(DataError("bad data"), 3), (RuntimeError("odd"), 1), (MemoryError("full"), 6)]
)
def test_debug_shows_the_traceback_and_the_same_message_and_code(
    run: Run, raising: Callable[[BaseException], None], error: Exception, code: int
) -> None:
    raising(error)
    plain = run("fail")
    ended, out, err = run("fail", "--debug")
    assert (ended, out) == (code, "")
    assert err.startswith("Traceback (most recent call last):\n")
    assert "in fail\n    raise error\n" in err
    assert err.endswith(plain[2])


def test_debug_shows_the_cause(run: Run, raising: Callable[[BaseException], None]) -> None:
    error = ModelError("no model")
    error.__cause__ = FileNotFoundError("manifest.json")
    raising(error)
    assert "FileNotFoundError: manifest.json\n\nThe above exception was the direct cause" in run("fail", "--debug")[2]


def test_warnings_of_libraries_are_shown_with_debug_only(
    run: Run, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])

    @app.command("fail")
    def fail(debug: bool = False) -> None:
        warnings.warn("odd library", stacklevel=1)

    with warnings.catch_warnings():
        assert run("fail")[0] == 0
    assert not recwarn.list
    with warnings.catch_warnings(), pytest.warns(UserWarning, match="odd library"):
        assert run("fail", "--debug")[0] == 0


# Usage


@pytest.mark.parametrize(
    ("arguments", "named", "help_of"),
    [
        ("nothing", "'nothing'", "tlcli"),
        ("--nothing", "--nothing", "tlcli"),
        ("train --nothing", "--nothing", "tlcli train"),
        ("train extra", "extra", "tlcli train"),
        ("train --set", "'--set'", "tlcli"),
        ("config nothing", "'nothing'", "tlcli config"),
        ("config check --nothing", "--nothing", "tlcli config check"),
        ("predict", "'IMAGE...'", "tlcli predict"),
    ],
)
def test_wrong_usage_ends_with_2_and_where_the_help_is(run: Run, arguments: str, named: str, help_of: str) -> None:
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"Error: [^\n]*{re.escape(named)}[^\n]* \(see: {help_of} --help\)\n", err)


@pytest.mark.parametrize(
    "arguments",
    [["predict", "x.png", "--top", "0"], ["predict", "x.png", "--top", "many"], ["evaluate", "--fail-under", "2"]],
)
def test_value_out_of_range_names_the_option(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: Invalid value for '{arguments[-2]}'")
    assert err.endswith(f"(see: tlcli {arguments[0]} --help)\n")


def test_near_option_is_proposed(run: Run) -> None:
    assert "--config" in run("train", "--confg", "x")[2]


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_without_a_command_the_help_is_shown_and_nothing_is_called_an_error(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert "Usage: tlcli" in out + err
    assert "Error" not in out + err


@pytest.mark.parametrize("command", [[], ["fetch"], ["train"], ["evaluate"], ["predict"], ["config", "show"]])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_there_in_both_spellings(run: Run, command: list[str], flag: str) -> None:
    code, out, err = run(*command, flag)
    assert (code, err) == (0, "")
    assert " ".join(["Usage: tlcli", *command]) in out


def test_help_names_every_command(run: Run) -> None:
    out = run("--help")[1]
    for command in ("fetch", "train", "evaluate", "predict", "config"):
        assert f" {command} " in out


def test_every_command_has_debug(run: Run) -> None:
    for command in (
        ["fetch"],
        ["train"],
        ["evaluate"],
        ["predict"],
        *(["config", c] for c in ("show", "check", "schema")),
    ):
        assert "--debug" in run(*command, "--help")[1], command


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"tlcli {tlcli.__version__}\n", "")


@pytest.mark.parametrize("command", ["train", "fetch"])
def test_wrong_config_ends_with_2_before_anything_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("dataset: {path: x}\ntrain:\n  epoch: 3\n")
    code, out, err = run(command, "--config", "c.yaml", "--set", "image.size=1")
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith("Error: c.yaml:3: train.epoch: unknown key, did you mean 'epochs'?")
    assert second.startswith("--set image.size=1: image.size: input should be greater than or equal to 32")
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize("command", [["evaluate"], ["predict", "x.png"]])
def test_without_a_run_there_is_an_error_of_the_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*command) == (5, "", "Error: There is no finished run in runs yet; run: tlcli train\n")


# As a process


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise on Windows")
@pytest.mark.parametrize(
    "arguments", [["config", "schema"], ["config", "check", "solar_cells"], ["--help"], ["--version"]]
)
def test_reader_that_goes_away_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    with process(tmp_path, *arguments) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()  # as head does when it has its lines
        err = command.stderr.read()
        assert (command.wait(), err) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["config schema", "config check solar_cells", "--version"])
def test_output_to_a_full_disk_is_an_error_of_the_disk(tmp_path: Path, arguments: str) -> None:
    with Path("/dev/full").open("wb") as full, process(tmp_path, *arguments.split(), stdout=full) as command:
        err = command.communicate()[1]
    assert (command.returncode, err) == (6, b"Error: No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_terminal_lacks_do_not_stop_a_command(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "c.yaml").write_text("dataset: {path: Käfer-甲虫}\n", encoding="utf-8")
    with process(tmp_path, "config", "show", "--config", "c.yaml", PYTHONIOENCODING=encoding) as command:
        out, err = command.communicate()
    assert (command.returncode, err) == (0, b"")
    assert rb"path: K\xe4fer-\u7532\u866b" in out or "path: Käfer-".encode("latin-1") + rb"\u7532\u866b" in out


def test_same_command_runs_as_a_module(tmp_path: Path) -> None:
    with process(tmp_path, "--version") as command:
        out, err = command.communicate()
    assert (command.returncode, out, err) == (0, f"tlcli {tlcli.__version__}\n".encode(), b"")


def test_no_colour_where_nobody_looks(tmp_path: Path) -> None:
    with process(tmp_path, "train", "--config", "nothing") as command:
        err = command.communicate()[1]
    assert err.startswith(b"Error: There is no config 'nothing'")
    assert b"\x1b" not in err


@pytest.mark.parametrize("words", [["runs", "--runs-dir"], ["evaluate", "--run"]])
def test_home_of_nobody_in_an_option_is_told(run: Run, words: list[str]) -> None:
    code, _, err = run(*words, "~nobody-is-so/x")
    assert (code, err) == (2, "Error: There is no home folder for '~nobody-is-so/x'; write the whole path.\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_bug(tmp_path: Path, closed: str) -> None:
    command = [sys.executable, "-m", "tlcli", "config", "check", "solar_cells"]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *command], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_stderr_that_cannot_be_written_leaves_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "tlcli", "train", "--config", "none"]
        assert subprocess.run(command, cwd=tmp_path, stderr=full, check=False).returncode == 2


def test_current_folder_that_was_removed_is_no_bug(
    tmp_path: Path, run: Run, raising: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = run("fail")
    monkeypatch.chdir(tmp_path)
    assert (code, err) == (
        6,
        "Error: The current folder was removed; go to one that is there (cd), and run it again.\n",
    )
