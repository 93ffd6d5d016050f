"""tlcli doctor: checks everything that tlcli depends on, and survives whatever is broken."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlcli.diagnostics import checks
from tlcli.diagnostics.checks import Section
from tlcli.errors import ResourceError, TlcliError
from tlcli.progress import SILENT, Progress

Check = Callable[[Section], None]
CHECKS: tuple[Check, ...] = (
    checks.versions, checks.machine, checks.engine, checks.weights, checks.cache, checks.kaggle, checks.self_test,
)  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """All sections."""

    sections: tuple[Section, ...]

    @property
    def exit_code(self) -> int:
        """That of the first problem; 0 with warnings alone."""
        return next((problem.exit_code for section in self.sections for problem in section.problems), 0)


def doctor(selected: Sequence[Check] = CHECKS, progress: Progress = SILENT) -> Diagnosis:
    """Runs checks; nothing is downloaded, changed or left behind.

    Args:
        selected: the checks; the self-test takes seconds.
        progress: receives the stage.
    """
    sections = list[Section]()
    with progress.stage("Checking", len(selected), "checks"):
        for check in selected:
            sections.append(_guarded(check))
            progress.advance()
    return Diagnosis(tuple(sections))


def _guarded(check: Check) -> Section:
    """Runs a check; where that fails, the section reports it. Libraries may quote a token: no text of Kaggle's."""
    found = Section(check.__name__)
    try:
        check(found)
    except TlcliError as error:
        found.problems.append(error)
    except Exception as error:  # noqa: BLE001 - whatever is broken here, the other sections are to be seen
        text = "" if check.__name__ == "kaggle" else " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}".removesuffix(": ")
        found.problems.append(_as_problem(error, f"This check failed: {reason}."))
    return found


def _as_problem(error: Exception, message: str) -> TlcliError:
    if isinstance(error, RuntimeError) and not os.environ.get("HOME"):  # of Path.home() and Path.expanduser()
        return ResourceError("resource.no_home_folder", message, "Set HOME to a writable folder.")
    if isinstance(error, OSError) and error.strerror:
        return ResourceError("resource.check_failed", message, "Fix that, and run it again.")
    return TlcliError("internal.check_failed", message, "Report it with this output.")
