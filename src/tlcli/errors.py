"""The errors that a user can act on, each with a stable code and an exit code.

An error has a dotted code that never changes its meaning (``data.class_too_small``), a message (what is wrong with
the value received, and what is allowed), and a hint (what to do next). ``docs/errors.md`` lists all of them; it is
generated from the places that raise them, so the code is always a literal. Anything else that escapes is a bug.
"""


class TlcliError(Exception):
    """Base of all expected errors; ``exit_code`` is the exit code of the process."""

    exit_code = 1

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        """Makes an error.

        Args:
            code: stable and dotted; its first part says the kind: ``usage``, ``config``, ``data``, ``image``,
                ``network``, ``model``, ``resource``.
            message: one or more sentences, ending with a full stop.
            hint: what to do next, a sentence; empty where the message says all.
        """
        super().__init__(code, message, hint)
        self.code, self.message, self.hint = code, message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def document(self) -> dict[str, object]:
        """What ``--json`` prints below ``"error"``."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "exit_code": self.exit_code}


class UsageError(TlcliError):
    """An option or a config value is wrong."""

    exit_code = 2


class DataError(TlcliError):
    """Images, labels or directories are missing or wrong."""

    exit_code = 3


class NetworkError(TlcliError):
    """A download failed, or credentials were refused."""

    exit_code = 4


class ModelError(TlcliError):
    """A backbone, its weights, a run or a bundle is missing or wrong."""

    exit_code = 5


class ResourceError(TlcliError):
    """Disk or memory is exhausted."""

    exit_code = 6


class InterruptError(TlcliError):
    """Ctrl-C or SIGTERM ended the command; the exit code is a shell's: 130 or 143."""

    def __init__(self, signal_number: int) -> None:
        """Describes the signal with this number."""
        super().__init__(
            "interrupted",
            f"Interrupted by {'Ctrl-C' if signal_number == 2 else 'SIGTERM'}. What was computed is kept.",
            "Run the same command again to continue.",
        )
        self.exit_code = 128 + signal_number
