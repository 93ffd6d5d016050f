"""What Kaggle's refusals mean, and what to do about each."""

from dataclasses import dataclass

from tlcli.datasets.acquire.downloads.failures import HttpStatusError, http_error
from tlcli.datasets.acquire.sources.kaggle.client import KaggleClient
from tlcli.errors import NetworkError

_SIGN_IN = (
    "Sign in at https://www.kaggle.com/settings/api, press Generate New Token, save it as ~/.kaggle/access_token, "
    "run: chmod 600 ~/.kaggle/access_token, then run the same command again."
)


@dataclass(frozen=True)
class Item:
    """A data set or a competition on Kaggle."""

    title: str
    page: str
    is_competition: bool = False
    version: int | None = None
    """The version that is wanted."""
    newest: int | None = None
    """The newest version, if known."""

    @property
    def rules(self) -> str:
        """The page of a competition's rules."""
        return f"{self.page}/rules"


def explain(kaggle: KaggleClient, item: Item, file: str, refused: HttpStatusError) -> NetworkError:
    """The error for a refusal of ``file`` ("" is all)."""
    if refused.host:
        message = f"Kaggle offers the {item.title}, but its storage {refused.host} answered {refused}."
        hint = f"Perhaps a firewall or a proxy blocks it. {refused.later}"
        return NetworkError("network.kaggle_storage_refused", message, hint)
    wanted, newest, is_missing = item.version, item.newest, refused.status == 404
    if wanted and newest and ((is_missing and not file) or (wanted > newest and refused.status in (400, 403, 404))):
        message = f"Kaggle's {item.title} has no version {wanted}."
        return NetworkError("network.kaggle_no_version", message, f"Set version to at most {newest}.")
    if is_missing and (file or newest):
        what = f"file '{file}'" if file else "files (any more)"
        message = f"Kaggle's {item.title} has no {what}."
        return NetworkError("network.kaggle_no_file", message, f"Look at the files on {item.page}.")
    if is_missing:
        hint = f"Its name is the end of the address of its page, as in {item.page}."
        return NetworkError("network.kaggle_not_found", f"Kaggle has no {item.title} (any more).", hint)
    if refused.status in (401, 403):
        return _forbidden(kaggle, item, refused)
    return http_error(f"Asked for the {item.title}, Kaggle", refused, NetworkError)


def token_needed(item: Item) -> NetworkError:
    """The error for what nobody gets without a token."""
    rules = f" Accept the rules once, too: {item.rules}." if item.is_competition else ""
    return NetworkError(
        "network.kaggle_token_needed", f"Kaggle gives the {item.title} only with a token.", _SIGN_IN + rules
    )


def _forbidden(kaggle: KaggleClient, item: Item, refused: HttpStatusError) -> NetworkError:
    if kaggle.refused:
        origins = " and ".join(account.origin for account in kaggle.refused)
        message = f"Kaggle refuses the token from {origins}, and gives the {item.title} only with a token."
        return NetworkError("network.kaggle_token_refused", message, _SIGN_IN)
    if item.is_competition:
        condition = f"Kaggle gives the {item.title} to those who have accepted its rules ({refused})."
        accept = f"Open {item.rules} as the token's owner, accept them, then run the same command again."
        return NetworkError("network.kaggle_rules_not_accepted", condition, accept)
    if kaggle.account is None and item.newest:
        return token_needed(item)
    if kaggle.account is None:
        hint = f"If {item.page} exists, it is private or wants your consent. {_SIGN_IN}"
        return NetworkError("network.kaggle_not_public", f"Kaggle has no public {item.title}.", hint)
    message = f"Kaggle does not give the {item.title} to the owner of the token from {kaggle.account.origin}."
    look = f"Look at {item.page} as that user: it is private, wants your consent, or does not exist."
    return NetworkError("network.kaggle_access_denied", message, look)
