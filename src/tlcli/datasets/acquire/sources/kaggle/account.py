"""Kaggle credentials: those that the ``kaggle`` package would use, found in the same places and order.

Importing ``kaggle`` itself would make folders, print, ask the network without a timeout and perhaps exit; its client
(``kagglesdk``) does none of that. But it raises at tokens longer than any file name and at files that are not text, so
that they are read here.
"""

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ValidationError

from tlcli.errors import NetworkError
from tlcli.progress import Progress


@dataclass(frozen=True)
class Account:
    """A token, a user name with a key, or a sign-in that gives tokens. Secrets stay out of its repr."""

    origin: str
    """Where it was found, for messages."""
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    key: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    """Gives a token where there is none that is still valid."""

    @property
    def secrets(self) -> list[str]:
        """What no message may hold."""
        return [secret for secret in (self.token, self.key, self.refresh_token) if secret]


class _Stored(BaseModel):
    """What Kaggle writes into ``kaggle.json`` (user name and key) and ``credentials.json`` (the sign-in)."""

    username: str = ""
    key: str = ""
    refresh_token: str = ""
    access_token: str = ""
    access_token_expiration: AwareDatetime | Literal[""] = ""


def find_accounts(progress: Progress) -> Iterator[Account]:
    """Access token, user name and key, the sign-in of ``kaggle auth login``: those that exist, in this order.

    Raises:
        NetworkError: what is found cannot be a token.
    """
    for path in (Path(os.environ.get("KAGGLE_API_TOKEN", "").strip()), *_token_files()):
        _warn_if_readable_by_others(path, progress)
    for find in (_access_token, _user_and_key, _signed_in):
        if account := find(progress):
            is_path = account.token is not None and account.token[0] in "/\\~."
            sent = filter(None, (account.token, account.username, account.key))
            if is_path or not all(one.isascii() and one.isprintable() and " " not in one for one in sent):
                message = f"{account.origin} holds no Kaggle token, or the path of a file that does not exist."
                hint = "Copy the token again, with nothing around it, or the whole path of a file that holds it."
                raise NetworkError("network.kaggle_token_malformed", message, hint)
            yield account


def _token_files() -> tuple[Path, ...]:
    """All files that may hold credentials, whether they exist or not."""
    home, configured = Path.home() / ".kaggle", os.environ.get("KAGGLE_CONFIG_DIR")
    config = Path(configured) if configured else home
    if not configured and sys.platform.startswith("linux") and not home.exists():
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return home / "access_token", home / "access_token.txt", config / "kaggle.json", home / "credentials.json"


def _access_token(progress: Progress) -> Account | None:
    names = {"KAGGLE_API_V1_TOKEN", "KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_DATA_PROXY_URL"}  # in Kaggle's notebooks
    if names <= os.environ.keys() and (token := _read(Path(os.environ["KAGGLE_API_V1_TOKEN"]), progress)):
        return Account("KAGGLE_API_V1_TOKEN", token=token)
    if given := os.environ.get("KAGGLE_API_TOKEN", "").strip():  # the token, or the path of a file that holds it
        with suppress(OSError):  # a token longer than any file name
            given = _read(Path(given), progress) if Path(given).exists() else given
        return Account("KAGGLE_API_TOKEN", token=given) if given else None
    found = ((path, _read(path, progress)) for path in _token_files()[:2])
    return next((Account(str(path), token=token) for path, token in found if token), None)


def _user_and_key(progress: Progress) -> Account | None:
    """KAGGLE_USERNAME and KAGGLE_KEY each override kaggle.json."""
    path = _token_files()[2]
    stored = _read_json(path, progress)
    username = os.environ.get("KAGGLE_USERNAME") or stored.username
    key = os.environ.get("KAGGLE_KEY") or stored.key
    origin = "KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(path)
    if username and key:
        return Account(origin, username=username.strip(), key=key.strip())
    if key:
        progress.note(f"Ignoring {origin}: it holds a key for Kaggle without a user name.")
    return None


def _signed_in(progress: Progress) -> Account | None:
    path = _token_files()[3]
    stored = _read_json(path, progress)
    if not stored.refresh_token:
        return None
    expires = stored.access_token_expiration
    is_valid = expires != "" and expires > datetime.now(UTC)
    return Account(str(path), stored.access_token if is_valid else None, refresh_token=stored.refresh_token)


def _read(path: Path, progress: Progress) -> str:
    """Its text; empty where it is missing or unreadable."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        progress.note(f"Ignoring {path}: it is unreadable ({reason}).")
        return ""


def _read_json(path: Path, progress: Progress) -> _Stored:
    text = _read(path, progress)
    try:
        return _Stored.model_validate_json(text) if text else _Stored()
    except ValidationError:
        progress.note(f"Ignoring {path}: it is not the JSON that Kaggle wrote. Download it again.")
        return _Stored()


def _warn_if_readable_by_others(path: Path, progress: Progress) -> None:
    with suppress(OSError):
        mode = path.stat().st_mode
        if os.name != "nt" and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
            command = f"chmod 600 {shlex.quote(str(path))}"
            progress.note(f"Other users of this machine can read your Kaggle token. Run: {command}")
