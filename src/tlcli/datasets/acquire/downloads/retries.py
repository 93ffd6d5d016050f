"""How often and how long a download is tried: five tries with growing pauses, within a limit of silence."""

import random
from dataclasses import dataclass
from time import monotonic, sleep

from tlcli.datasets.acquire.downloads.failures import RetryableError
from tlcli.progress import Progress


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts in seconds, and the number of tries."""

    connect: float = 5
    read: float = 15
    """Until the next bytes."""
    response: float = 20
    """Until the headers are complete: name lookup, connection, redirects and headers together."""
    silence: float = 20
    """Without any data from a source, until it is given up; also the longest Retry-After that is waited for."""
    tries: int = 5
    """In a row, each without progress."""
    backoff: float = 0.5
    """Pause before the second try; doubles with each further one."""
    slow: float = 30
    """At less than 1 KB/s, until that counts as a failed try."""


DEFAULT_POLICY = RetryPolicy()


class Retries:
    """Counts the failed tries of one request, and pauses before the next."""

    def __init__(self, policy: RetryPolicy, progress: Progress) -> None:
        self._policy, self._progress = policy, progress
        self._began = monotonic()
        self._failures = 0
        self.heard = False
        """Whether the source has sent data; from then on only the number of tries counts."""

    @property
    def timeout(self) -> float:
        """Seconds that the next response may take."""
        left = self._began + self._policy.silence - monotonic()
        return self._policy.response if self.heard else min(self._policy.response, left)

    def pause(self, failed: RetryableError, progressed: bool = False, hint: str = "") -> None:
        """Waits before the next try.

        Args:
            failed: the try that failed.
            progressed: whether it brought enough data to begin counting again.
            hint: what to do next, added to that of the final error.

        Raises:
            NetworkError: it was the last try.
        """
        self._failures = 1 if progressed else self._failures + 1
        growing = self._policy.backoff * 2 ** (self._failures - 1) * random.uniform(0.8, 1.2)  # noqa: S311
        pause = max(failed.wait, growing)
        silent = not self.heard and monotonic() - self._began + pause > self._policy.silence
        if silent or self._failures >= self._policy.tries:
            tries = f" ({self._failures} {'try' if self._failures == 1 else 'tries'})."
            raise type(failed)(
                failed.code, failed.message.removesuffix(".") + tries, f"{failed.hint} {hint}".strip()
            ) from None
        self._progress.note(f"{failed.message} Trying again in {pause:.0f} s.")
        sleep(pause)
