"""doctor runs every check and survives whatever is broken."""

import builtins
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tlcli.diagnostics.section import Section
from tlcli.errors import ModelError, NetworkError
from tlcli.workflows.doctor import CHECKS, doctor

SECRET = "KGAT_0123456789abcdef0123456789abcdef"


def test_all_sections_are_there() -> None:
    found = doctor(with_self_test=False)
    assert [section.name for section in found.sections] == list(CHECKS)


def test_the_first_problem_gives_the_exit_code() -> None:
    sections = {
        "fine": Section("fine"),
        "odd": Section("odd", warnings=[ModelError("model.odd")]),
        "bad": Section("bad", problems=[NetworkError("network.bad"), ModelError("model.bad")]),
        "worse": Section("worse", problems=[ModelError("model.worse")]),
    }
    assert (
        doctor(False, selected={name: partial(sections.__getitem__, name) for name in ("fine", "odd")}).exit_code == 0
    )
    assert doctor(False, selected={name: partial(sections.__getitem__, name) for name in sections}).exit_code == 4


@pytest.mark.parametrize("name", ["cache", "kaggle"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("odd\nthing"), "bug.check_failed"),
        (ImportError("no"), "bug.check_failed"),
        (OSError(5, f"I/O {SECRET}"), "resource.check_failed"),
        (KeyError(SECRET), "bug.check_failed"),
        (ModelError("model.odd"), "model.odd"),
    ],
)
def test_a_check_that_breaks_is_a_problem_and_the_others_are_done(name: str, error: Exception, code: str) -> None:
    def broken() -> Section:
        raise error

    found = doctor(False, selected={name: broken, "other": lambda: Section("other")})
    assert [(section.name, section.verdict) for section in found.sections] == [(name, "problem"), ("other", "ok")]
    (problem,) = found.sections[0].problems
    assert problem.code == code
    assert name != "kaggle" or SECRET not in str(problem)


def test_a_self_test_that_breaks_or_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.diagnostics import self_test

    steps = [self_test.Step("head", False, "x"), self_test.Step("engine", None, "y")]
    monkeypatch.setattr(self_test, "self_test", lambda _: steps)
    (section,) = doctor(selected={}).sections
    assert [error.code for error in (*section.problems, *section.warnings)] == [
        "model.self_test_failed", "model.self_test_skipped",
    ]  # fmt: skip
    monkeypatch.setattr(self_test, "self_test", lambda _: 1 / 0)
    (section,) = doctor(selected={}).sections
    assert [error.code for error in section.problems] == ["bug.check_failed"]


def test_without_a_home_folder_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", homeless)
    found = {section.name: section for section in doctor(with_self_test=False).sections}
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
    assert [section.name for section in found.sections] == [*CHECKS, "self-test"]
    assert next(section for section in found.sections if section.name == "cache").facts["writable"]
