"""Each check on a sound and on a broken environment; codes and facts are compared."""

import importlib.util
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from tlcli import engines
from tlcli.backbones.catalog import CATALOG
from tlcli.diagnostics import checks, self_test
from tlcli.diagnostics.checks import Section
from tlcli.engines import openvino as openvino_engine
from tlcli.errors import ModelError
from tlcli.system import cpu
from tlcli.system import memory as ram
from tlcli.workflows.doctor import Check

SECRET = "KGAT_0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and nothing of Kaggle in the environment."""
    for name in [name for name in os.environ if name.startswith(("KAGGLE_", "XDG_", "KERAS_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def run(check: Check) -> Section:
    section = Section(check.__name__)
    check(section)
    return section


def everything(section: Section) -> str:
    return json.dumps([section.facts, *(str(error) for error in (*section.problems, *section.warnings))])


def codes(section: Section) -> list[str]:
    return [error.code for error in (*section.problems, *section.warnings)]


def missing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    version = metadata.version

    def found(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", found)


def test_the_verdict_is_the_worst() -> None:
    error = ModelError("model.example", "Odd.")
    assert Section("a").verdict == "ok"
    assert Section("a", warnings=[error]).verdict == "warning"
    assert Section("a", warnings=[error], problems=[error]).verdict == "problem"


# versions


def test_versions_come_from_metadata() -> None:
    found = run(checks.versions)
    assert found.verdict == "ok"
    assert isinstance(found.facts["packages"], dict)
    assert found.facts["packages"]["numpy"] == metadata.version("numpy")
    assert found.facts["packages"]["keras"] == metadata.version("keras")
    assert "ruff" not in found.facts["packages"]


def test_missing_packages_are_problems_and_missing_extras_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "openvino", "tensorflow", "nncf")
    found = run(checks.versions)
    assert codes(found) == ["model.requirement_not_met"]
    assert "openvino" in found.problems[0].hint
    assert isinstance(found.facts["packages"], dict)
    assert found.facts["packages"].keys() >= {"tensorflow", "nncf"}


def test_packages_of_another_version_than_required_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    required = ["numpy>=99", "pillow>=1", "nncf>=1; extra == 'int8'", "ruff>=99; extra == 'dev'"]
    monkeypatch.setattr(metadata, "requires", lambda _: required)
    found = run(checks.versions)
    assert codes(found) == ["model.requirement_not_met"]
    assert "pip install 'numpy>=99'" in found.problems[0].hint

    def not_installed(_: str) -> list[str]:
        raise metadata.PackageNotFoundError("tlcli")

    monkeypatch.setattr(metadata, "requires", not_installed)
    assert run(checks.versions).verdict == "ok"


def test_environment_variables_that_may_hold_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@proxy:1")
    monkeypatch.setenv("TLCLI_THREADS", "1")
    found = run(checks.versions)
    assert SECRET not in everything(found)
    assert isinstance(found.facts["settings"], dict)
    assert found.facts["settings"]["TLCLI_THREADS"] == "1"


# machine


@pytest.mark.parametrize(
    ("found_memory", "expected"),
    [
        (ram.Memory(64 * 10**9, 60 * 10**9, 10**9), ["resource.low_memory"]),
        (ram.Memory(64 * 10**9, 10**9, None), ["resource.low_memory"]),
        (ram.Memory(64 * 10**9, 60 * 10**9, None), []),
        (ram.Memory(None, None, None), []),
    ],
)
def test_low_memory_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, found_memory: ram.Memory, expected: list[str]
) -> None:
    monkeypatch.setattr(checks, "memory", lambda: found_memory)
    found = run(checks.machine)
    assert codes(found) == expected
    assert found.facts["memory_available_bytes"] == found_memory.available


def test_a_system_that_reports_nothing_is_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module, name in ((ram, "_PROC"), (cpu, "_CGROUP"), (cpu, "_OWN_GROUPS"), (cpu, "_CPUINFO")):
        monkeypatch.setattr(module, name, tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "sparc")
    found = run(checks.machine)
    assert found.verdict == "ok"
    assert found.facts["instructions"] is None


# engine


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "f32")])
def test_the_chosen_engine_has_a_reason(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str) -> None:
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: has_bf16)
    found = run(checks.engine)
    assert (found.verdict, found.facts["precision"]) == ("ok", precision)
    assert found.facts["reason"]


def test_without_openvino_keras_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = run(checks.engine)
    assert (found.facts["engine"], "int8_is_faster" in found.facts) == ("keras", False)


def test_with_no_engine_at_all_the_error_is_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "openvino", "tensorflow")
    with pytest.raises(ModelError) as error:
        run(checks.engine)
    assert error.value.code == "model.engine_missing"


def test_an_openvino_that_cannot_be_imported_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tlcli.engines.openvino")
    monkeypatch.delattr(engines, "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(ModelError) as error:
        run(checks.engine)
    assert error.value.code == "model.openvino_not_importable"


# weights


def test_weights_are_listed_and_not_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".keras" / "models" / CATALOG["vgg16"].weights.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 5_000)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it is read"))
    found = run(checks.weights)
    assert isinstance(found.facts["available"], dict)
    assert found.facts["available"]["vgg16"] == "not verified yet"
    assert "vgg19" not in found.facts["available"]
    assert found.facts["folder"] == str(path.parent)


@pytest.mark.parametrize(("verified", "expected"), [(True, []), (None, []), (False, ["model.weights_digest_mismatch"])])
def test_weights_of_another_digest_are_a_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch, verified: bool | None, expected: list[str]
) -> None:
    from tlcli.backbones import weights

    (home / "x").write_text("")
    monkeypatch.setattr(weights, "imagenet_path", lambda row: home / "x" if row.name == "vgg16" else None)
    monkeypatch.setattr(weights, "is_verified", lambda *_: verified)
    assert codes(run(checks.weights)) == expected


def test_without_any_weights_there_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.backbones import weights

    monkeypatch.setattr(weights, "imagenet_path", lambda _: None)
    assert codes(run(checks.weights)) == ["model.no_weights"]


# cache


def test_the_cache_is_tried_and_left_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deep" / "cache"
    monkeypatch.setenv("TLCLI_CACHE", str(folder))
    found = run(checks.cache)
    assert (found.facts["writable"], found.facts["exists"]) == (True, False)
    assert not folder.parent.exists()
    folder.mkdir(parents=True)
    (folder / "mine").write_text("x")
    found = run(checks.cache)
    assert (found.facts["writable"], found.facts["exists"], found.facts["folder"]) == (True, True, str(folder))
    assert [path.name for path in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize("subfolder", ["", "features"])
def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subfolder: str
) -> None:
    (tmp_path / "features").mkdir()
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path))

    def refused(dir: Path) -> IO[bytes]:  # noqa: A002 - named as in tempfile
        if dir == tmp_path / subfolder:
            raise PermissionError(13, "Permission denied")
        return TemporaryFile(dir=dir)

    monkeypatch.setattr(checks, "TemporaryFile", refused)
    found = run(checks.cache)
    assert codes(found) == ["resource.cache_not_writable"]
    assert str(tmp_path / subfolder) in found.warnings[0].message
    assert found.facts["writable"] is False


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
@pytest.mark.parametrize("name", ["file", "gone", "loop"])
def test_a_cache_that_cannot_be_created_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "gone").symlink_to(tmp_path / "drive")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / name))
    found = run(checks.cache)
    assert codes(found) == ["resource.cache_not_writable"]
    assert (found.facts["writable"], found.facts["exists"]) == (False, False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_cache_below_an_unreadable_folder_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "closed" / "cache"))
    assert codes(run(checks.cache)) == ["resource.cache_not_writable"]


def test_a_path_without_permission_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def refusing(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        if "closed" in os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return stat(path, *arguments, **named)

    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "closed" / "cache"))
    monkeypatch.setattr(os, "stat", refusing)
    found = run(checks.cache)
    assert (found.facts["exists"], found.facts["folder"]) == (False, str(tmp_path / "closed" / "cache"))


@pytest.mark.parametrize(("free", "verdict"), [(10**7, "problem"), (10**9, "warning"), (10**11, "ok")])
def test_little_free_space_is_reported(monkeypatch: pytest.MonkeyPatch, free: int, verdict: str) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda _: free)
    found = run(checks.cache)
    assert (found.verdict, found.facts["free_bytes"]) == (verdict, free)
    assert codes(found) == ([] if verdict == "ok" else ["resource.low_disk_space"])


# Kaggle


def test_no_token_is_no_problem() -> None:
    found = run(checks.kaggle)
    assert (found.verdict, found.facts["credentials"]) == ("ok", [])


@pytest.mark.parametrize(
    ("environment", "files", "kind", "origin"),
    [
        ({"KAGGLE_API_TOKEN": SECRET}, {}, "access token", "KAGGLE_API_TOKEN"),
        ({"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": SECRET}, {}, "user name and key", "KAGGLE_KEY"),
        ({}, {"access_token": SECRET}, "access token", "access_token"),
        ({}, {"kaggle.json": json.dumps({"username": "someone", "key": SECRET})}, "user name and key", "kaggle.json"),
        ({}, {"credentials.json": json.dumps({"refresh_token": SECRET})}, "sign-in", "credentials.json"),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_token_is_reported_by_its_origin_and_never_shown(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    files: dict[str, str],
    kind: str,
    origin: str,
    mode: int,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (home / ".kaggle").mkdir()
    for name, text in files.items():
        (home / ".kaggle" / name).write_text(text)
        (home / ".kaggle" / name).chmod(mode)
    found = run(checks.kaggle)
    shown = found.facts["credentials"]
    assert isinstance(shown, list)
    assert (len(shown), shown[0].startswith(kind), shown[0].endswith(origin)) == (1, True, True)
    assert not any(SECRET[start : start + 6] in everything(found) for start in range(len(SECRET) - 5))
    assert "someone" not in everything(found)
    open_to_others = bool(files) and mode == 0o644
    assert codes(found) == (["network.credentials"] if open_to_others else [])
    assert not open_to_others or "chmod 600" in str(found.warnings[0])


@pytest.mark.parametrize("content", [f"{SECRET} with spaces", f"/{SECRET}", "\0" + SECRET, "é" + SECRET])
def test_a_malformed_token_is_a_warning_that_does_not_show_it(home: Path, content: str) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(content, encoding="utf-8")
    (home / ".kaggle" / "access_token").chmod(0o600)
    found = run(checks.kaggle)
    assert found.verdict == "warning"
    assert SECRET not in everything(found)
    assert "access_token" in str(found.warnings[0])


def test_a_failing_step_of_the_self_test_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [self_test.Step("head", False, "x"), self_test.Step("engine", None, "y"), self_test.Step("a", True, "z")]
    monkeypatch.setattr(self_test, "run", lambda: steps)
    found = run(checks.self_test)
    assert codes(found) == ["model.self_test_failed", "model.self_test_skipped"]
    assert found.facts == {"head": "x", "engine": "y", "a": "z"}
