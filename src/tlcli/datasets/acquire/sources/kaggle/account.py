"""Who asks Kaggle: the credentials that the ``kaggle`` package would use, found in the same places and order.

Importing ``kaggle`` itself would make folders, print, ask the network without a timeout and perhaps exit; its client
(``kagglesdk``) does none of that. But it raises at tokens longer than any file name and at files that are no text, so
that the places are read here.
"""

import json
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcli.errors import NetworkError
from tlcli.progress import Progress


@dataclass(frozen=True)
class Account:
    """A token, a user name with a key, or a sign-in that makes tokens. Secrets stay out of its repr."""

    origin: str
    """Where it was found, for messages."""
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    key: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    """What a token is made from, where there is none that is still valid."""


def find_accounts(progress: Progress) -> Iterator[Account]:
    """Access token, user name and key, the sign-in that ``kaggle auth login`` left: what there is, in this order.

    Raises:
        NetworkError: what stands there cannot be a token.
    """
    for path in (Path(_named_token()), *token_files()):
        _warn_if_open(path, progress)
    for find in (_access_token, _user_and_key, _signed_in):
        if account := find(progress):
            _check(account)
            yield account


def token_files() -> tuple[Path, ...]:
    """All files that are looked for by their place, there or not."""
    return *_token_files(), config_folder() / "kaggle.json", _sign_in_file()


def config_folder() -> Path:
    """Where the ``kaggle`` package looks for kaggle.json."""
    if configured := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(configured)
    folder = Path.home() / ".kaggle"
    if sys.platform.startswith("linux") and not _exists(folder):
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return folder


def _access_token(progress: Progress) -> Account | None:
    on_kaggle = os.environ.get("KAGGLE_API_V1_TOKEN", "")  # for programs that run in its notebooks
    is_there = {"KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_DATA_PROXY_URL"} <= os.environ.keys()
    if is_there and on_kaggle and (token := _read(Path(on_kaggle), progress).strip()):
        return Account("KAGGLE_API_V1_TOKEN", token=token)
    if named := _named_token():
        token = _read(Path(named), progress).strip() if _exists(Path(named)) else named
        return Account("KAGGLE_API_TOKEN", token=token) if token else None
    for path in _token_files():
        if token := _read(path, progress).strip():
            return Account(str(path), token=token)
    return None


def _named_token() -> str:
    """The token, or the path of a file that holds it."""
    return os.environ.get("KAGGLE_API_TOKEN", "").strip()


def _token_files() -> tuple[Path, Path]:
    folder = Path.home() / ".kaggle"
    return folder / "access_token", folder / "access_token.txt"


def _sign_in_file() -> Path:
    return Path.home() / ".kaggle" / "credentials.json"


def _user_and_key(progress: Progress) -> Account | None:
    """KAGGLE_USERNAME and KAGGLE_KEY each win over their like in kaggle.json."""
    path = config_folder() / "kaggle.json"
    stored = _read_json(path, progress)
    username = os.environ.get("KAGGLE_USERNAME") or stored.get("username")
    key = os.environ.get("KAGGLE_KEY") or stored.get("key")
    origin = "KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(path)
    if isinstance(username, str) and isinstance(key, str) and username and key:
        return Account(origin, username=username.strip(), key=key.strip())
    if key:
        progress.note(f"{origin} holds a key for Kaggle, and no user name goes with it; going on without it.")
    return None


def _signed_in(progress: Progress) -> Account | None:
    path = _sign_in_file()
    stored = _read_json(path, progress)
    made_from, token = stored.get("refresh_token"), stored.get("access_token")
    if not (isinstance(made_from, str) and made_from):
        return None
    valid = isinstance(token, str) and token and _is_ahead(stored.get("access_token_expiration"))
    return Account(str(path), token=token if valid else None, refresh_token=made_from)


def _is_ahead(date: object) -> bool:
    try:
        return datetime.fromisoformat(str(date)) > datetime.now(UTC)
    except (ValueError, TypeError):  # no date; one without a time zone
        return False


def _check(account: Account) -> None:
    """Raises NetworkError for what can be no credentials, and would break the request; never shows them."""
    for secret in (account.token, account.username, account.key):
        if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
            raise NetworkError(
                f"What {account.origin} holds is no Kaggle token: it has spaces or other characters that none has. "
                "Copy it again, with nothing around it."
            )
    if account.token and (account.token[0] in "/\\~." or account.token[1:2] == ":"):
        raise NetworkError(
            f"What {account.origin} holds looks like the path of a file, and there is no such file; it must be the "
            "token, or the whole path of a file that holds it (without ~)."
        )


def _read(path: Path, progress: Progress) -> str:
    """Its text; nothing where there is none that can be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        progress.note(f"{path} cannot be read ({reason}); going on without it.")
        return ""


def _read_json(path: Path, progress: Progress) -> dict[str, Any]:
    text = _read(path, progress)
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    progress.note(f"{path} is not the JSON that Kaggle wrote; going on without it. Download it again.")
    return {}


def _exists(path: Path) -> bool:
    """Path.exists raises where the path is too long, or may not be looked at."""
    try:
        return path.exists()
    except OSError:
        return False


def _warn_if_open(path: Path, progress: Progress) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if os.name != "nt" and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        mend = f"chmod 600 {shlex.quote(str(path))}"
        progress.note(f"Other users of this machine can read your Kaggle token; run: {mend}")
