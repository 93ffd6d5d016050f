"""What Kaggle's refusals mean, and what to do about each."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.datasets.acquire.downloads.failures import HttpStatusError, http_error
from tlcli.datasets.acquire.sources.kaggle.client import KaggleClient
from tlcli.errors import NetworkError

_SIGN_IN = (
    "Sign in at https://www.kaggle.com/settings/api, press Generate New Token, save it as ~/.kaggle/access_token, "
    "run: chmod 600 ~/.kaggle/access_token, then run the same command again."
)


@dataclass
class Item:
    """A data set or a competition on Kaggle, and how the client finds it."""

    title: str
    name: str
    page: str
    search: Callable[[Any], list[str]]
    """Names of others that are like it."""
    list_files: Callable[[Any], list[str]]
    rules: str = ""
    """The page of a competition's rules."""
    version: int | None = None
    """The version that is wanted."""
    newest: int | None = None
    """The newest version, if known."""


def explain(kaggle: KaggleClient, item: Item, file: str, refused: HttpStatusError) -> NetworkError:
    """The error for a refusal of ``file`` ("" is all)."""
    if refused.host:
        message = f"Kaggle offers the {item.title}, but its storage {refused.host} answered {refused}."
        hint = f"Perhaps a firewall or a proxy blocks it. {refused.later}"
        return NetworkError("network.kaggle_storage_refused", message, hint)
    wanted, newest = item.version, item.newest
    if wanted and newest and wanted > newest and refused.status in (400, 403, 404):
        return _no_version(item)
    if refused.status == 404:
        return _not_found(kaggle, item, file)
    if refused.status in (401, 403):
        return _forbidden(kaggle, item, refused)
    error = http_error(f"Asked for the {item.title}, Kaggle", refused, NetworkError)
    says = f" It says: {refused.explanation}" if refused.explanation else ""
    return type(error)(error.code, error.message + says, error.hint)


def token_needed(item: Item) -> NetworkError:
    """The error for what nobody gets without a token."""
    rules = f" Accept the rules once, too: {item.rules}." if item.rules else ""
    return NetworkError(
        "network.kaggle_token_needed", f"Kaggle gives the {item.title} only with a token.", _SIGN_IN + rules
    )


def _no_version(item: Item) -> NetworkError:
    message = f"Kaggle's {item.title} has no version {item.version}."
    return NetworkError("network.kaggle_no_version", message, f"Set version to at most {item.newest}.")


def _not_found(kaggle: KaggleClient, item: Item, file: str) -> NetworkError:
    files = kaggle.quietly(item.list_files) if file else ()
    if file and (item.newest or files):
        listed = f" Its files: {', '.join(files[:8])}{', ...' if len(files) > 8 else ''}." if files else ""
        hint = f"{_nearest(file, files)}{listed}".strip() or f"See {item.page}."
        return NetworkError("network.kaggle_no_file", f"Kaggle's {item.title} has no file '{file}'.", hint)
    if item.newest and item.version:
        return _no_version(item)
    if item.newest:
        message = f"Kaggle's {item.title} has no files (any more)."
        return NetworkError("network.kaggle_no_file", message, f"See {item.page}.")
    hint = _similar(kaggle, item) or f"Its name is the end of the address of its page, as in {item.page}."
    return NetworkError("network.kaggle_not_found", f"Kaggle has no {item.title} (any more).", hint)


def _forbidden(kaggle: KaggleClient, item: Item, refused: HttpStatusError) -> NetworkError:
    similar = "" if item.newest else _similar(kaggle, item)
    if kaggle.refused:
        origins = " and ".join(account.origin for account in kaggle.refused)
        refusal = f"Kaggle refuses the token from {origins}, and gives the {item.title} only with a token."
        return NetworkError("network.kaggle_token_refused", refusal, f"{similar} {_SIGN_IN}".strip())
    if item.rules:
        says = f" It says: {refused.explanation}" if refused.explanation else ""
        condition = f"Kaggle gives the {item.title} to those who have accepted its rules.{says}"
        accept = f"Open {item.rules} as the token's owner, accept them, then run the same command again. {similar}"
        return NetworkError("network.kaggle_rules_not_accepted", condition, accept.strip())
    if kaggle.account is None and item.newest:
        return token_needed(item)
    if kaggle.account is None:
        hint = f"{similar} If {item.page} exists, it is private or wants your consent. {_SIGN_IN}".strip()
        return NetworkError("network.kaggle_not_public", f"Kaggle has no public {item.title}.", hint)
    message = f"Kaggle does not give the {item.title} to the owner of the token from {kaggle.account.origin}."
    look = f"{similar} Look at {item.page} as that user: it is private, wants your consent, or does not exist."
    return NetworkError("network.kaggle_access_denied", message, look.strip())


def _similar(kaggle: KaggleClient, item: Item) -> str:
    return _nearest(item.name, kaggle.quietly(item.search))


def _nearest(name: str, names: Sequence[str]) -> str:
    """``Did you mean 'alien-vs-predator'?``, or nothing."""
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f"Did you mean '{near[0]}'?" if near and near[0] != name else ""
