"""The errors a user can act on, each with its exit code.

A message is one sentence of what is wrong (with the value received), what is allowed, and what to do next.
Anything else that escapes is a bug and exits with 1.
"""


class TlcliError(Exception):
    """Base of all expected errors; ``exit_code`` is what the process ends with."""

    exit_code = 1


class UsageError(TlcliError):
    """A wrong option or config value."""

    exit_code = 2


class DataError(TlcliError):
    """Pictures, labels or folders are missing or wrong."""

    exit_code = 3


class NetworkError(TlcliError):
    """Something could not be downloaded, or credentials were refused."""

    exit_code = 4


class ModelError(TlcliError):
    """A backbone, its weights, a run or a bundle is missing or wrong."""

    exit_code = 5


class ResourceError(TlcliError):
    """Disk or memory is exhausted."""

    exit_code = 6
