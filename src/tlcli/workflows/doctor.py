"""tlcli doctor: checks everything that tlcli depends on, and survives whatever is broken."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tlcli.diagnostics import checks
from tlcli.diagnostics.section import Section
from tlcli.errors import ModelError, ResourceError, TlcliError
from tlcli.progress import SILENT, Progress

CHECKS: dict[str, Callable[[], Section]] = {
    "versions": checks.versions,
    "machine": checks.machine,
    "engine": checks.engine,
    "weights": checks.weights,
    "cache": checks.cache,
    "kaggle": checks.kaggle,
}


@dataclass(frozen=True)
class Diagnosis:
    """All sections."""

    sections: tuple[Section, ...]

    @property
    def exit_code(self) -> int:
        """That of the first problem; 0 with warnings alone."""
        return next((problem.exit_code for section in self.sections for problem in section.problems), 0)


def doctor(
    with_self_test: bool = True, progress: Progress = SILENT, selected: Mapping[str, Callable[[], Section]] = CHECKS
) -> Diagnosis:
    """Runs all checks; nothing is downloaded, changed or left behind.

    Args:
        with_self_test: also run generated images through the decoder, the engine and the fit of a head (seconds).
        progress: receives the stage.
        selected: the checks, by the names of their sections.
    """
    sections = [_guarded(name, check) for name, check in selected.items()]
    if with_self_test:
        with progress.stage("Testing with generated images"):
            sections.append(_guarded("self-test", _self_test))
    return Diagnosis(tuple(sections))


def _guarded(name: str, check: Callable[[], Section]) -> Section:
    """Runs a check; where that fails, the section reports it. Libraries may quote a token: no text of Kaggle's."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever is broken here, the other sections are to be seen
        if isinstance(error, TlcliError):
            return Section(name, problems=[error])
        text = "" if name == "kaggle" else " ".join(str(error).split())
        return Section(name, problems=[_as_problem(error, f"{type(error).__name__}: {text}".removesuffix(": "))])


def _as_problem(error: Exception, reason: str) -> TlcliError:
    if isinstance(error, RuntimeError) and not os.environ.get("HOME"):  # of Path.home() and Path.expanduser()
        message = f"This user has no home folder ({reason})."
        return ResourceError("resource.no_home_folder", message, "Set HOME to a writable folder.")
    if isinstance(error, OSError) and error.strerror:
        return ResourceError("resource.check_failed", f"This check failed: {reason}.", "Fix that, and run it again.")
    return TlcliError("bug.check_failed", f"This check failed: {reason}.", "Report it with this output.")


def _self_test() -> Section:
    from tlcli.diagnostics.self_test import self_test  # noqa: PLC0415 - needs NumPy and Pillow, which may be broken

    found = Section("self-test")
    try:
        choice = checks.choose_automatically()
    except ModelError:  # as the section on the engine reports
        choice = None
    for step in self_test(choice):
        found.facts[step.name] = step.result
        if step.passed is False:
            message = f"The self-test of the {step.name} failed: {step.result}."
            found.problems.append(ModelError("model.self_test_failed", message, "Do not trust results here."))
        elif step.passed is None:
            message = f"The self-test of the {step.name} was skipped: {step.result}."
            found.warnings.append(ModelError("model.self_test_skipped", message))
    return found
