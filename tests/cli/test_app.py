"""main(), the error boundary: exit codes, messages and hints, the document of --json, tracebacks with --debug."""

import errno
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Any

import pytest
import typer

import tlcli
from tlcli.cli.app import app, main
from tlcli.cli.console import Screen
from tlcli.config.problems import ConfigError, Place, Problem
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError, TlcliError, UsageError

Run = Callable[..., tuple[int, str, str]]
Add = Callable[[BaseException], None]


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
def raising(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Adds the command ``fail``, which raises an exception, after its document with ``--late``."""
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])

    def add(error: BaseException) -> None:
        @app.command("fail")
        def fail(
            debug: bool = False, as_json: Annotated[bool, typer.Option("--json")] = False, late: bool = False
        ) -> None:
            if late:
                Screen(as_json).document({"done": 1})
            raise error

    return add


def failure(run: Run, *arguments: str) -> dict[str, Any]:
    """The error that a command prints with ``--json``; stderr has its message and its hint."""
    code, out, err = run(*arguments, "--json")
    document = json.loads(out)
    assert list(document) == ["error"]
    error: dict[str, Any] = document["error"]
    assert list(error)[:4] == ["code", "message", "hint", "exit_code"]
    assert error["exit_code"] == code
    assert err.endswith(
        f"Error [{error['code']}]: {error['message']}\n" + (f"Hint: {error['hint']}\n" if error["hint"] else "")
    )
    return error


def process(
    folder: Path, *arguments: str, stdout: IO[bytes] | int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[bytes]:
    """``tlcli ARGUMENTS`` as a process of its own, whose output is buffered as it is by default."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONUNBUFFERED", None)
    command = [sys.executable, "-m", "tlcli", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(TlcliError, 1), (UsageError, 2), (DataError, 3), (NetworkError, 4), (ModelError, 5), (ResourceError, 6)],
)
def test_expected_error_is_its_message_its_hint_and_its_exit_code(
    run: Run, raising: Add, kind: type[TlcliError], code: int
) -> None:
    raising(kind("x.y", "A message.", "A hint."))
    assert run("fail") == (code, "", "Error [x.y]: A message.\nHint: A hint.\n")
    assert failure(run, "fail") == {"code": "x.y", "message": "A message.", "hint": "A hint.", "exit_code": code}


def test_error_without_a_hint_has_one_line(run: Run, raising: Add) -> None:
    raising(DataError("x.y", "A message."))
    assert run("fail") == (3, "", "Error [x.y]: A message.\n")


def test_config_error_prints_all_problems(run: Run, raising: Add) -> None:
    problems = [
        Problem("config.x", Place("c.yaml", 3), "train.epochs", "Wrong."),
        Problem("config.y", Place("--set a"), "", "B."),
    ]
    raising(ConfigError(problems))
    assert run("fail") == (2, "", "Error [config.invalid]: c.yaml:3: train.epochs: Wrong.\n--set a: B.\n")
    error = failure(run, "fail")
    assert error["code"] == "config.invalid"
    assert error["problems"] == [
        {"place": "c.yaml:3", "key": "train.epochs", "code": "config.x", "message": "Wrong."},
        {"place": "--set a", "key": "", "code": "config.y", "message": "B."},
    ]


@pytest.mark.parametrize("error", [DataError("x.y", "M."), RuntimeError("odd"), KeyboardInterrupt(), typer.Exit(3)])
def test_document_that_a_command_has_printed_stays_the_only_one(run: Run, raising: Add, error: BaseException) -> None:
    raising(error)
    code, out, err = run("fail", "--json", "--late")
    assert code in (1, 3, 130)
    assert json.loads(out) == {"done": 1}
    assert bool(err) != isinstance(error, typer.Exit)
    assert run("fail", "--late")[1] == ""


def test_next_command_of_a_process_prints_its_own_document(run: Run, raising: Add) -> None:
    raising(DataError("x.y", "M."))
    assert run("fail", "--json", "--late")[1]
    assert failure(run, "fail")["code"] == "x.y"


def test_json_behind_two_dashes_is_an_argument(run: Run, raising: Add) -> None:
    raising(DataError("x.y", "M."))
    assert run("fail", "--", "--json")[:2] == (2, "")


def test_result_that_json_lacks_is_a_bug_with_a_document(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])

    @app.command("fail")
    def fail(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        Screen(as_json).document({"loss": float("nan")})

    assert failure(run, "fail")["code"] == "internal.bug"


def test_message_is_printed_as_it_is(run: Run, raising: Add) -> None:
    message = r"C:\images\[/bold] [red]x[/red] 'a' 12.5 /a/b c\ " + "long " * 60
    raising(DataError("x.y", message.rstrip()))
    assert run("fail")[2] == f"Error [x.y]: {message.rstrip()}\n"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("odd"), KeyError("odd"), ValueError("odd"), AssertionError("odd"), FileNotFoundError(2, "odd")],
)
def test_anything_else_is_a_bug_with_how_to_report_it(run: Run, raising: Add, error: Exception) -> None:
    raising(error)
    code, out, err = run("fail")
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    bug = failure(run, "fail")
    assert (bug["code"], bug["exit_code"]) == ("internal.bug", 1)
    assert all(word in bug["message"] for word in (tlcli.__version__, type(error).__name__, "odd"))
    assert "--debug" in bug["hint"]


def test_memory_that_runs_out_is_no_bug(run: Run, raising: Add) -> None:
    raising(MemoryError())
    error = failure(run, "fail")
    assert (error["code"], error["exit_code"]) == ("resource.out_of_memory", 6)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM, errno.EFBIG]
)
@pytest.mark.parametrize("file", ["runs/x", None])
def test_disk_that_fails_is_no_bug(run: Run, raising: Add, number: int, file: str | None) -> None:
    raising(OSError(number, os.strerror(number), file))
    error = failure(run, "fail")
    code = "resource.disk_full" if number in (errno.ENOSPC, errno.EDQUOT) else "resource.system_error"
    assert (error["code"], error["exit_code"]) == (code, 6)
    assert os.strerror(number) in error["message"]
    assert (file or "") in error["message"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()], ids=["Ctrl-C", "abort"])
def test_interrupt_ends_with_130(run: Run, raising: Add, error: BaseException) -> None:
    raising(error)
    assert run("fail")[:2] == (130, "")
    assert failure(run, "fail")["code"] == "interrupted"


@pytest.mark.parametrize("code", [0, 3, 77])
def test_command_can_end_with_a_code_of_its_own(
    run: Run, raising: Add, code: int
) -> None:  # fmt: skip
    raising(typer.Exit(code))
    assert run("fail") == (code, "", "")


def test_exit_from_below_is_passed_on(run: Run, raising: Add) -> None:
    raising(SystemExit(9))
    assert run("fail") == (9, "", "")


# --debug


@pytest.mark.parametrize(
    ("error", "code"), [(DataError("x.y", "Bad data."), 3), (RuntimeError("odd"), 1), (MemoryError("full"), 6)]
)
def test_debug_shows_the_traceback_and_the_same_message_and_code(
    run: Run, raising: Add, error: Exception, code: int
) -> None:
    raising(error)
    plain = run("fail")
    ended, out, err = run("fail", "--debug")
    assert (ended, out) == (code, "")
    assert err.startswith("Traceback (most recent call last):\n")
    assert "in fail\n    raise error\n" in err
    assert err.endswith(plain[2])


def test_debug_shows_the_cause(run: Run, raising: Add) -> None:
    error = ModelError("x.y", "No model.")
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
    ("arguments", "code", "named", "help_of"),
    [
        ("nothing", "usage.invalid_command", "'nothing'", "tlcli"),
        ("--nothing", "usage.unknown_option", "--nothing", "tlcli"),
        ("train --nothing", "usage.unknown_option", "--nothing", "tlcli train"),
        ("train extra", "usage.invalid_command", "extra", "tlcli train"),
        ("train --json --set", "usage.invalid_value", "'--set'", "tlcli train"),
        ("predict x.png --explain", "usage.invalid_value", "--explain DIR", "tlcli predict"),
        ("predict x.png --explain --quiet", "usage.invalid_value", "--explain DIR", "tlcli predict"),
        ("predict x.png --explain=", "usage.invalid_value", "--explain DIR", "tlcli predict"),
        ("predict x.png --csv", "usage.invalid_value", "--csv FILE", "tlcli predict"),
        ("runs compare a b --runs-dir", "usage.invalid_value", "--runs-dir", "tlcli runs compare"),
        ("config nothing", "usage.invalid_command", "'nothing'", "tlcli config"),
        ("config check --nothing", "usage.unknown_option", "--nothing", "tlcli config check"),
        ("predict", "usage.missing_argument", "'IMAGE...'", "tlcli predict"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_help(
    run: Run, arguments: str, code: str, named: str, help_of: str
) -> None:
    ended, out, err = run(*arguments.replace("--json ", "").split())
    assert (ended, out, len(err.splitlines())) == (2, "", 2)
    words = arguments.split() if "--json" in arguments else [*arguments.split(), "--json"]
    error = json.loads(run(*words)[1])["error"]
    assert (error["code"], error["exit_code"]) == (code, 2)
    assert named in error["message"]
    assert f" {help_of} --help" in error["hint"]


def test_an_option_that_took_the_image_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").write_bytes(b"")
    error = failure(run, "predict", "--explain", "x.png")
    assert error["code"] == "usage.missing_argument"
    assert "--explain DIR" in error["message"]


@pytest.mark.parametrize(
    "arguments",
    [["predict", "x.png", "--top", "0"], ["predict", "x.png", "--top", "many"], ["fetch", "--threads", "0"]],
)
def test_value_out_of_range_names_the_option(run: Run, arguments: list[str]) -> None:
    error = failure(run, *arguments)
    assert (error["code"], error["exit_code"]) == ("usage.invalid_value", 2)
    assert f"'{arguments[-2]}'" in error["message"]


def test_similar_option_is_suggested(run: Run) -> None:
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
    error = failure(run, command, "--config", "c.yaml", "--set", "image.size=1")
    assert error["exit_code"] == 2
    assert [(problem["place"], problem["key"], problem["code"]) for problem in error["problems"]] == [
        ("c.yaml:3", "train.epoch", "config.unknown_key"),
        ("--set image.size=1", "image.size", "config.out_of_range"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize("command", [["evaluate"], ["predict", "x.png"]])
def test_without_a_run_there_is_an_error_of_the_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*command)[:2] == (5, "")


# As a process


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise on Windows")
@pytest.mark.parametrize(
    "arguments", [["config", "schema"], ["config", "check", "solar_cells"], ["--help"], ["--version"]]
)
def test_reader_that_closes_the_pipe_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    with process(tmp_path, *arguments) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()  # as head does
        err = command.stderr.read()
        assert (command.wait(), err) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["config schema", "config check solar_cells", "--version"])
def test_output_to_a_full_disk_is_an_error_of_the_disk(tmp_path: Path, arguments: str) -> None:
    with Path("/dev/full").open("wb") as full, process(tmp_path, *arguments.split(), stdout=full) as command:
        err = command.communicate()[1]
    assert command.returncode == 6
    assert err.startswith(b"Error [resource.disk_full]: No space left on device")


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


def test_no_colour_without_a_terminal(tmp_path: Path) -> None:
    with process(tmp_path, "train", "--config", "nothing") as command:
        err = command.communicate()[1]
    assert err.startswith(b"Error [config.not_found]: ")
    assert b"\x1b" not in err


@pytest.mark.parametrize("words", [["runs", "--runs-dir"], ["evaluate", "--run"]])
def test_home_of_an_unknown_user_in_an_option_is_refused(run: Run, words: list[str]) -> None:
    error = failure(run, *words, "~nobody-is-so/x")
    assert (error["code"], error["exit_code"]) == ("usage.unknown_user", 2)
    assert "'~nobody-is-so/x'" in error["message"]


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
    tmp_path: Path, run: Run, raising: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    error = failure(run, "fail")
    monkeypatch.chdir(tmp_path)
    assert (error["code"], error["exit_code"]) == ("resource.no_working_directory", 6)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_error_document_that_cannot_be_written_leaves_the_exit_code(tmp_path: Path) -> None:
    command = ["train", "--config", "none", "--json"]
    with Path("/dev/full").open("wb") as full, process(tmp_path, *command, stdout=full) as done:
        assert done.communicate()[1].startswith(b"Error [config.not_found]: ")
    assert done.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="signals end otherwise on Windows")
@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_signal_before_a_command_has_begun_gets_its_document(number: int, code: int) -> None:
    program = (
        "import signal, sys\nfrom tlcli.cli import interrupts\nsys.argv = ['tlcli', 'train', '--json']\n"
        f"interrupts.watch()\nsignal.raise_signal({number})\nprint(1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["exit_code"]) == ("interrupted", code)
    assert done.stderr == f"Error [interrupted]: {error['message']}\nHint: {error['hint']}\n"
