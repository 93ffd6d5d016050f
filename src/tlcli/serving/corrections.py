"""Corrections: images that a user gave another class, in folders that ``dataset.path`` can take."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from tlcli.images.formats import SUFFIXES
from tlcli.images.recognition import HEAD, recognize
from tlcli.model.sorting import folder_names, safe_name
from tlcli.serving.limits import RefusalError
from tlcli.system.files import whole_file


class Corrections:
    """A folder for each model, with one for each class that an image was given.

    No name in it comes from a request: folders are those of the model's classes, files are named by their content.
    """

    def __init__(self, folder: Path, most: int) -> None:
        """Takes the folder and the number of images that it may hold; counts those that are there."""
        self.folder, self._most = folder, most
        self._storing = Lock()
        self._count = sum(1 for path in folder.glob("*/*/*") if path.is_file())

    def store(self, model: str, labels: Sequence[str], label: str, image: bytes) -> bool:
        """Stores an image, and removes it from the class that it was given before.

        Args:
            model: the name of the model that erred.
            labels: its classes.
            label: what the image is: one of them.
            image: an encoded image that can be decoded.

        Returns:
            Whether it was not there yet.

        Raises:
            RefusalError: there is no such class, or the folder is full.
            ResourceError: the disk is full or cannot be written.
        """
        folders = folder_names(labels)
        if label not in folders:
            raise RefusalError("serve.unknown_label", 400)
        kind = recognize(image[:HEAD])
        suffix = SUFFIXES[kind.format][0] if kind and kind.format else ".tga"  # the one that has no signature
        name = f"{hashlib.sha256(image).hexdigest()}{suffix}"
        root = self.folder / safe_name(model)
        with self._storing:
            target = root / folders[label] / name
            if target.is_file():
                return False
            others = [other for folder in folders.values() if (other := root / folder / name).is_file()]
            if not others and self._count >= self._most:
                raise RefusalError("serve.corrections_full", 507)
            with whole_file(target) as temporary:
                temporary.write_bytes(image)
            for other in others:
                other.unlink(missing_ok=True)
            self._count += 1 - len(others)
        return True
