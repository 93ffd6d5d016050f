"""Kaggle's own client (kagglesdk), with timeouts, the credentials that were found, and HTTP statuses for its errors."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import tlcli
from tlcli.datasets.acquire.downloads.failures import HttpStatusError, RetryableError, in_time, respond, retry_after
from tlcli.datasets.acquire.downloads.retries import Retries, RetryPolicy
from tlcli.datasets.acquire.sources.kaggle.account import Account
from tlcli.errors import NetworkError
from tlcli.progress import Progress

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")


class KaggleClient:
    """Kaggle's client, with timeouts and without its errors, whose texts hold signed addresses."""

    def __init__(self, accounts: Iterator[Account], policy: RetryPolicy, progress: Progress) -> None:
        self._accounts = accounts
        self.account = next(accounts, None)
        self.refused: list[Account] = []
        """Those that Kaggle does not accept."""
        self._policy, self._progress = policy, progress

    def call(self, ask: Callable[[Any], T], headers: Mapping[str, str] = {}) -> T:
        """What ``ask`` gets from the client; if Kaggle refuses our token, with the next one, and at last without.

        Raises:
            HttpStatusError: any status that is no success.
            NetworkError: what answers is not Kaggle.
        """
        while True:
            try:
                return self._call(ask, headers)
            except HttpStatusError as refused:
                if refused.status != 401 or refused.host or self.account is None:
                    raise
            self.refused.append(self.account)
            self.account = next(self._accounts, None)
            others = f"that from {self.account.origin}" if self.account else "without one"
            self._progress.note(f"Kaggle refuses the token from {self.refused[-1].origin}; trying {others}.")

    def file(self, ask: Callable[[Any], "Response"], headers: Mapping[str, str], name: str) -> "Response":
        """A streaming response with the file ``name`` ("" is an archive); see :meth:`call`."""
        try:
            response = self.call(ask, headers)
        except HttpStatusError as refused:
            if not refused.host or refused.is_temporary(float("inf")) or refused.status == 416:
                raise
            response = self.call(ask, headers)  # addresses are signed for a short time; this is a new one
        kind = response.headers.get("Content-Type", "")
        is_page = "html" in kind and not name.lower().endswith((".html", ".htm"))
        if is_page or "application/json" in kind:  # the client reads JSON of Kaggle; that of files has no type here
            response.close()
            raise _not_kaggle()
        return response

    def persistently(self, ask: Callable[[Any], T]) -> T:
        """As :meth:`call`, tried again while Kaggle does not answer.

        Raises:
            NetworkError: it does not, all the time.
            HttpStatusError: it answers that it will not.
        """
        retries = Retries(self._policy, self._progress)
        while True:
            try:
                return respond("Kaggle", retries.timeout, self._policy.silence, lambda: self.call(ask))
            except RetryableError as failed:
                retries.pause(failed)

    def quietly(self, ask: Callable[[Any], Sequence[str]]) -> Sequence[str]:
        """For hints: empty where it does not work."""
        try:
            return in_time(self._policy.connect, lambda: self.call(ask))
        except Exception:  # noqa: BLE001 - whatever it is, the refusal that is being explained matters more
            return ()

    def _call(self, ask: Callable[[Any], T], headers: Mapping[str, str]) -> T:
        import requests
        import urllib3

        with self._client() as client:
            http = client.http_client()
            try:
                http._session.auth = self._signature(http)
                http._session.headers.update(headers)
                return ask(client)
            except requests.HTTPError as error:
                raise self._refusal(error.response) from None
            except requests.JSONDecodeError:
                raise _not_kaggle() from None
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                raise
            except (ValueError, TypeError, AttributeError, LookupError):  # what kagglesdk makes of other JSON, or none
                raise _not_kaggle() from None

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Kaggle's client, not signing anything yet."""
        from kagglesdk import KaggleClient, KaggleEnv

        here = {"LOCALHOST": KaggleEnv.LOCAL, "TEST": KaggleEnv.TEST}  # its others are Kaggle's own machines
        env = here.get(os.environ.get("KAGGLE_API_ENVIRONMENT", ""), KaggleEnv.PROD)
        # Given any token, it does not search for one: it would find the one that was refused, and fail at broken files.
        with KaggleClient(env, api_token="", user_agent=f"tlcli/{tlcli.__version__}") as client:
            session = client.http_client()._session  # it offers no other way to timeouts and headers
            session.auth = None
            _adapt(session, self._policy)
            yield client

    def _signature(self, http: Any) -> Any:
        """What the client signs requests with."""
        account = self.account
        if account is None:
            return None
        if account.key:
            return account.username, account.key
        if not account.token:
            account = self.account = replace(account, token=self._renewed(account))
        return http.BearerAuth(account.token)

    def _renewed(self, account: Account) -> str:
        """A token for somebody whom ``kaggle auth login`` signed in hours ago; kept in memory alone.

        Raises:
            HttpStatusError: the sign-in is over (401).
        """
        import requests
        from kagglesdk import KaggleCredentials

        with self._client() as client:
            client.http_client()._session.max_redirects = 0  # the secret is in the body, which would go along
            try:
                answer = KaggleCredentials(client, refresh_token=account.refresh_token).generate_access_token()
            except requests.HTTPError as error:
                if error.response.status_code not in (400, 403, 404):
                    raise
                answer = None
        if answer is None or not answer.token:
            raise HttpStatusError(401)
        return str(answer.token)

    def _refusal(self, response: Any) -> HttpStatusError:
        """Kaggle reports errors by status, or with status 200 in JSON."""
        with response:
            status, explanation = _status(response)
        wait = retry_after(response.headers)
        if response.request.method == "GET":  # the storage, which knows nothing of tokens and names
            return HttpStatusError(status, wait, host=urlsplit(response.url).hostname or "")
        account = self.account or Account("")
        if any(secret in explanation for secret in (account.token, account.key, account.refresh_token) if secret):
            explanation = ""
        return HttpStatusError(status, wait, explanation[:200])


def _not_kaggle() -> NetworkError:
    return NetworkError(
        "network.not_kaggle",
        "What answers in place of Kaggle sends a page: perhaps this network wants you to sign in first.",
        "Open https://www.kaggle.com in a browser, then run the same command again.",
    )


def _status(response: Any) -> tuple[int, str]:
    """The status and the explanation of an error of Kaggle."""
    status: int = response.status_code
    if "json" not in response.headers.get("Content-Type", ""):
        return status, ""
    try:
        body = response.json()
        explanation = " ".join(str(body.get("message") or "").split())
        status = status if status >= 400 else int(body["code"])
    except (ValueError, AttributeError, TypeError, LookupError):
        return status, ""
    return status, "".join(character for character in explanation if character.isprintable())


def _adapt(session: Any, policy: RetryPolicy) -> None:
    """Timeouts for every request, and responses that the client handles correctly.

    It reads the body before the status where that says to be JSON; and so it does with files, all of them and into
    memory. Files are what is requested by GET.
    """
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            response = super().send(request, **{**options, "timeout": (policy.connect, policy.read)})
            response.raise_for_status()
            if request.method == "GET" and "json" in response.headers.get("Content-Type", ""):
                del response.headers["Content-Type"]
            return response

    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())
