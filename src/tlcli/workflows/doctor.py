"""tlcli doctor: looks at all that tlcli stands on, and never breaks because of what is broken."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import tlcli
from tlcli.errors import ModelError, ResourceError, TlcliError
from tlcli.progress import SILENT, Progress
from tlcli.workflows import doctor_checks, doctor_places
from tlcli.workflows.doctor_section import Section, Verdict

if TYPE_CHECKING:
    from tlcli.backbones.spec import EngineChoice

_CHECKS: dict[str, Callable[[], Section]] = {
    "versions": doctor_checks.versions,
    "machine": doctor_checks.machine_seen,
    "engine": doctor_checks.engine,
    "weights": doctor_places.weights,
    "cache": doctor_places.cache,
    "kaggle": doctor_places.kaggle,
}


@dataclass(frozen=True)
class Diagnosis:
    """All sections."""

    sections: tuple[Section, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        found = {section.verdict for section in self.sections}
        return "problem" if "problem" in found else "warning" if "warning" in found else "ok"

    @property
    def exit_code(self) -> int:
        """That of the first problem; 0 with warnings alone."""
        return next((section.exit_code for section in self.sections if section.exit_code), 0)

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        sections = {one.name: {"verdict": one.verdict, "advice": one.advice, **one.facts} for one in self.sections}
        return {"tlcli": tlcli.__version__, "verdict": self.verdict, "exit_code": self.exit_code, **sections}


def doctor(with_self_test: bool = True, progress: Progress = SILENT) -> Diagnosis:
    """Looks at everything; nothing is downloaded, changed or left behind.

    Args:
        with_self_test: made images go through the decoder, the engine and the fit of a head, which takes seconds.
        progress: told of what is being done.
    """
    sections = [_guarded(name, check) for name, check in _CHECKS.items()]
    if with_self_test:
        with progress.stage("Testing on made images"):
            sections.append(_guarded("self-test", _tested))
    return Diagnosis(tuple(sections))


def _guarded(name: str, check: Callable[[], Section]) -> Section:
    """The section; where looking itself fails, one that says so. What libraries say may quote a token: not Kaggle's."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever is broken here, the other sections are to be seen
        words = " ".join(str(error).split())
        reason = type(error).__name__ + (f": {words}" if words and name != "kaggle" else "")
        code = error.exit_code if isinstance(error, TlcliError) else TlcliError.exit_code
        found = Section(name, facts={"error": reason}, rows=[("failed", reason)])
        if isinstance(error, RuntimeError) and "home" in words:  # as Path.home and Path.expanduser say it
            found.fail(_SET_HOME, code)
        elif isinstance(error, OSError) and error.strerror and name != "kaggle":
            where = f" ({error.filename})" if error.filename else ""
            found.fail(f"The system says: {error.strerror}{where}; mend that.", ResourceError.exit_code)
        else:
            found.fail(words if isinstance(error, TlcliError) and name != "kaggle" else _REPORT, code)
        return found


_REPORT = "This could not be looked at; please report it with what is shown here."
_SET_HOME = "This user has no home folder; set HOME to a folder that can be written."


def _tested() -> Section:
    from tlcli.workflows.self_test import self_test  # noqa: PLC0415 - needs NumPy and Pillow, which may be broken

    found, started = Section("self-test"), perf_counter()
    steps = list(self_test(_choice()))
    found.facts = {"seconds": round(perf_counter() - started, 2), "steps": [asdict(step) for step in steps]}
    found.rows = [(step.name, step.found) for step in steps]
    for step in steps:
        if step.passed is False:
            found.fail(f"The test of {step.name} came out wrong; do not trust results here.", ModelError.exit_code)
        elif step.passed is None:
            found.warn(f"The test of {step.name} was {step.found}.")
    return found


def _choice() -> "EngineChoice | None":
    """What auto chooses; None where nothing can be chosen, as the section on the engine says."""
    from tlcli.engines.interface import choose_engine  # noqa: PLC0415

    try:
        return choose_engine("auto", "auto")
    except ModelError:
        return None
