"""The images of a run, where they still are what they were when it was trained: on this machine, or on a store."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from time import monotonic

from tlcli.datasets.listing import recall
from tlcli.errors import DataError, TlcliError
from tlcli.images.decode import BadImageError, read
from tlcli.images.preparation import Preparation
from tlcli.runs.images import RecordedImage, read_images
from tlcli.runs.records import RunRecord, read_record
from tlcli.system.remote.path import RemotePath, as_path

_PAUSE = 60.0
"""Seconds for which a store that has failed is not asked."""
_PATIENCE = 2.0
"""Seconds to wait for an image that another thread reads."""


def data_root(record: RunRecord) -> Path:
    """The data folder of a run; of an address, what was listed below it is known from now on."""
    root = as_path(record.data_root, Path())
    if isinstance(root, RemotePath):
        recall(root)
    return root


class RunImages:
    """The images that a run was trained and measured with, by their names."""

    def __init__(self, root: Path, recorded: Sequence[RecordedImage]) -> None:
        """Reads nothing yet.

        Args:
            root: see :func:`data_root`.
            recorded: the images of the run.
        """
        self._root = root
        self._digests = {one.path: one.sha256 for one in recorded}
        self._asking, self._asks_again_at = Lock(), 0.0
        self.failure: TlcliError | None = None
        """Why :meth:`read_if_possible` could not read an image last."""

    @classmethod
    def of(cls, run: Path) -> "RunImages":
        """The images of the run in this directory.

        Raises:
            ModelError: its record or its table of images is damaged.
        """
        record = read_record(run)
        return cls(data_root(record), read_images(run, record.data_digest))

    def path(self, name: str) -> Path:
        """Where an image was."""
        return as_path(name, self._root)

    def read(self, name: str, preparation: Preparation) -> bytes | None:
        """The bytes of an image; None where it is gone, or is another image now.

        Raises:
            NetworkError: its store refuses access, or does not answer.
            UsageError: the extra ``remote`` is not installed, and the image is on a store.
        """
        if name not in self._digests:
            return None
        try:
            data = read(self.path(name), preparation)
        except (BadImageError, DataError):  # DataError: the object is another than when it was listed
            return None
        return data if hashlib.sha256(data).hexdigest() == self._digests[name] else None

    def read_if_possible(self, name: str, preparation: Preparation) -> bytes | None:
        """As :meth:`read`; None also where its store fails, which may take minutes: it is not asked again for a minute
        then, and others do not wait for the one who asks."""
        if not self._asking.acquire(timeout=_PATIENCE):
            return None
        try:
            return None if monotonic() < self._asks_again_at else self.read(name, preparation)
        except TlcliError as error:
            self.failure, self._asks_again_at = error, monotonic() + _PAUSE
            return None
        finally:
            self._asking.release()
