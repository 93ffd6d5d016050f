"""The HTTP client below Kaggle's own (kagglesdk): timeouts, the credentials that were found, statuses as errors.

The one that kagglesdk brings has no timeouts, searches for credentials itself, reads whole files into memory where they
are JSON, and its errors hold signed addresses.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

import tlcli
from tlcli.datasets.acquire.downloads.failures import HttpStatusError, RetryableError, respond, retry_after
from tlcli.datasets.acquire.downloads.retries import Retries, RetryPolicy
from tlcli.datasets.acquire.sources.kaggle.account import Account
from tlcli.errors import NetworkError
from tlcli.progress import Progress

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")


class _Report(BaseModel):
    """What Kaggle says of an error, in a response of any status; in others, code and message are missing."""

    code: int = 0
    message: str | None = None


class KaggleClient:
    """Sends the requests of kagglesdk, and remembers which account works."""

    def __init__(self, accounts: Iterator[Account], policy: RetryPolicy, progress: Progress) -> None:
        self._accounts = accounts
        self.account = next(accounts, None)
        self.refused: list[Account] = []
        """Those that Kaggle does not accept."""
        self._policy, self._progress = policy, progress

    def sender(self, headers: Mapping[str, str] = {}) -> Any:
        """What the clients of kagglesdk (``DatasetApiClient``) send their requests with; adds these headers.

        If Kaggle refuses our token, a request is repeated with the next one, and at last without any.
        Its ``call`` raises HttpStatusError at any status that is no success, NetworkError where it is not Kaggle that
        answers.
        """
        return SimpleNamespace(call=partial(self._call, headers))

    def file(self, ask: Callable[[Any], "Response"], headers: Mapping[str, str], name: str) -> "Response":
        """A streaming response with the file ``name`` ("" is an archive), for which ``ask`` uses a sender."""
        try:
            response = ask(self.sender(headers))
        except HttpStatusError as refused:
            if not refused.host or refused.is_temporary(float("inf")) or refused.status == 416:
                raise
            response = ask(self.sender(headers))  # addresses are signed for a short time; this is a new one
        kind = response.headers.get("Content-Type", "")
        is_page = "html" in kind and not name.lower().endswith((".html", ".htm"))
        if is_page or ("json" in kind and not _is_of_storage(response)):
            response.close()
            raise _not_kaggle()
        return response

    def persistently(self, ask: Callable[[Any], T]) -> T:
        """What ``ask`` gets with a sender, tried again while Kaggle does not answer.

        Raises:
            NetworkError: it does not, all the time.
            HttpStatusError: it answers that it will not.
        """
        retries = Retries(self._policy, self._progress)
        while True:
            try:
                return respond("Kaggle", retries.timeout, self._policy.silence, lambda: ask(self.sender()))
            except RetryableError as failed:
                retries.pause(failed)

    def _call(self, headers: Mapping[str, str], *request: Any) -> Any:
        while True:
            try:
                return self._send(headers, self._signature(), *request)
            except HttpStatusError as refused:
                if refused.status != 401 or refused.host or self.account is None:
                    raise
            self.refused.append(self.account)
            self.account = next(self._accounts, None)
            others = f"that from {self.account.origin}" if self.account else "without one"
            self._progress.note(f"Kaggle refuses the token from {self.refused[-1].origin}; trying {others}.")

    def _send(
        self, headers: Mapping[str, str], auth: Any, service: str, method: str, request: Any, kind: Any,
        allow_redirects: bool = True,
    ) -> Any:  # fmt: skip
        import requests
        from kagglesdk import KaggleEnv
        from kagglesdk.kaggle_http_client import KaggleHttpClient

        is_test = os.environ.get("KAGGLE_API_ENVIRONMENT") == "LOCALHOST"
        url = KaggleHttpClient(KaggleEnv.LOCAL if is_test else KaggleEnv.PROD)._get_request_url(service, method)
        response = requests.post(
            url,
            json=request.to_dict(),
            headers={"User-Agent": f"tlcli/{tlcli.__version__}", **headers},
            auth=auth or (lambda unsigned: unsigned),  # with None, requests takes what ~/.netrc has
            timeout=(self._policy.connect, self._policy.read),
            stream=True,
            allow_redirects=allow_redirects,
        )
        try:
            self._check(response)
            return kind.prepare_from(response)
        except (ValueError, TypeError, AttributeError, LookupError):  # what kagglesdk makes of other JSON, or none
            raise _not_kaggle() from None

    def _signature(self) -> Any:
        """What requests signs a request with; None without an account."""
        from kagglesdk.kaggle_http_client import KaggleHttpClient

        account = self.account
        if account is None:
            return None
        if account.key:
            return account.username, account.key
        if not account.token:
            account = self.account = replace(account, token=self._renewed(account))
        return KaggleHttpClient.BearerAuth(account.token)

    def _renewed(self, account: Account) -> str:
        """A token for somebody whom ``kaggle auth login`` signed in hours ago; kept in memory alone.

        Raises:
            HttpStatusError: the sign-in is over (401).
        """
        from kagglesdk.users.services.account_service import AccountClient
        from kagglesdk.users.types.account_service import ApiVersion, GenerateAccessTokenRequest

        request = GenerateAccessTokenRequest()
        request.refresh_token = account.refresh_token
        request.api_version = ApiVersion.API_VERSION_V1
        request.expiration_duration = timedelta(hours=12)  # as kagglesdk does
        # The secret is in the body, which would go along with a redirect.
        send = partial(self._send, {}, None, allow_redirects=False)
        try:
            answer = AccountClient(SimpleNamespace(call=send)).generate_access_token(request)
        except HttpStatusError as refused:
            raise HttpStatusError(401) if refused.status in (400, 403, 404) else refused from None
        return str(answer.token)

    def _check(self, response: "Response") -> None:
        """Raises HttpStatusError for a refusal, which Kaggle reports by status, or with status 200 in JSON."""
        report, host = _Report(), ""
        if _is_of_storage(response):  # which knows nothing of tokens and names
            host = urlsplit(response.url).hostname or ""
        elif "json" in response.headers.get("Content-Type", ""):
            with suppress(ValidationError):
                report = _Report.model_validate_json(response.content)
        status = report.code if response.status_code == 200 and report.code >= 400 else response.status_code
        if status in (200, 206):
            return
        response.close()
        printable = "".join(one if one.isprintable() else " " for one in report.message or "")
        explanation = " ".join(printable.split())
        if self.account and any(secret in explanation for secret in self.account.secrets):
            explanation = ""
        raise HttpStatusError(status, retry_after(response.headers), explanation[:200], host)


def _is_of_storage(response: "Response") -> bool:
    """Whether Kaggle has redirected to its storage: its own methods are requested by POST."""
    return response.request.method == "GET"


def _not_kaggle() -> NetworkError:
    return NetworkError(
        "network.not_kaggle",
        "What answers in place of Kaggle sends a page: perhaps this network wants you to sign in first.",
        "Open https://www.kaggle.com in a browser, then run the same command again.",
    )
