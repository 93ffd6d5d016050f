"""doctor runs every check and survives whatever is broken."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from tlcli.diagnostics.checks import Section
from tlcli.errors import ModelError, NetworkError, TlcliError
from tlcli.workflows.doctor import CHECKS, Check, doctor

SECRET = "KGAT_0123456789abcdef0123456789abcdef"


def section(name: str, *problems: TlcliError) -> Check:
    """A check that finds these problems."""

    def check(found: Section) -> None:
        found.problems += problems

    check.__name__ = name
    return check


def test_all_sections_are_there() -> None:
    found = doctor(CHECKS[:-1])
    assert [section.name for section in found.sections] == [check.__name__ for check in CHECKS[:-1]]


def test_the_first_problem_gives_the_exit_code() -> None:
    bad = section("bad", NetworkError("network.bad", "Bad."), ModelError("model.bad", "Bad."))
    assert doctor([section("fine")]).exit_code == 0
    assert doctor([section("fine"), bad, section("worse", ModelError("model.worse", "Worse."))]).exit_code == 4


def test_a_warning_does_not_change_the_exit_code() -> None:
    assert doctor([lambda found: found.warnings.append(ModelError("model.odd", "Odd."))]).exit_code == 0


@pytest.mark.parametrize("name", ["cache", "kaggle"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("odd\nthing"), "internal.check_failed"),
        (ImportError("no"), "internal.check_failed"),
        (OSError(5, f"I/O {SECRET}"), "resource.check_failed"),
        (KeyError(SECRET), "internal.check_failed"),
        (ModelError("model.odd", "Odd."), "model.odd"),
    ],
)
def test_a_check_that_breaks_is_a_problem_and_the_others_are_done(name: str, error: Exception, code: str) -> None:
    def broken(_: Section) -> None:
        raise error

    broken.__name__ = name
    found = doctor([broken, section("other")])
    assert [(section.name, section.verdict) for section in found.sections] == [(name, "problem"), ("other", "ok")]
    (problem,) = found.sections[0].problems
    assert problem.code == code
    assert name != "kaggle" or SECRET not in str(problem)


def test_without_a_home_folder_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setenv("KERAS_HOME", "~nobody-of-this-name/keras")
    found = {section.name: section for section in doctor(CHECKS[:-1]).sections}
    assert [error.code for name in ("kaggle", "weights") for error in found[name].problems] == [
        "resource.no_home_folder"
    ] * 2
    assert found["cache"].facts["writable"]


@pytest.mark.parametrize("package", ["numpy", "PIL", "sklearn", "openvino", "packaging", "filelock", "kagglesdk"])
def test_a_package_that_cannot_be_imported_breaks_no_other_section(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    original = builtins.__import__

    def refusing(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"{package} is broken")
        return original(name, *arguments, **named)

    again = ("tlcli.features", "tlcli.heads", "tlcli.datasets.", "tlcli.diagnostics.self_test")
    names = [name for name in sys.modules if name.startswith(again)]
    for name in names:  # importing them again sets them in their packages, where they must not stay
        parent, _, child = name.rpartition(".")
        monkeypatch.setattr(sys.modules[parent], child, sys.modules[name], raising=False)
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refusing)
    found = doctor()
    assert [section.name for section in found.sections] == [check.__name__ for check in CHECKS]
    assert next(section for section in found.sections if section.name == "cache").facts["writable"]
