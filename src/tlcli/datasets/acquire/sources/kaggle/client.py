"""Kaggle's own client (kagglesdk), with timeouts, the account that was found, and refusals instead of its errors."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import tlcli
from tlcli.datasets.acquire.downloads.download import Patience, in_time
from tlcli.datasets.acquire.downloads.refusals import REPEATED, Refused, cause, retry_after
from tlcli.datasets.acquire.sources.kaggle.account import Account
from tlcli.errors import NetworkError
from tlcli.progress import Progress

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")
_STRANGE = (
    "What answers in place of Kaggle is not Kaggle: it sends a page. Perhaps this network wants you to sign in first; "
    "open https://www.kaggle.com in a browser, and then run the same command again."
)


class RefusedByStorage(Refused):
    """Not Kaggle refuses, but the host that it sends on to; that says nothing about tokens and names."""

    host = ""


class Kaggle:
    """Kaggle's client, with timeouts and without its errors, whose texts hold signed addresses."""

    def __init__(self, accounts: Iterator[Account], patience: Patience, progress: Progress) -> None:
        self._accounts = accounts
        self.account = next(accounts, None)
        self.refused: list[Account] = []
        """Those that Kaggle does not know."""
        self._patience, self._progress = patience, progress

    def call(self, ask: Callable[[Any], T], headers: Mapping[str, str] = {}) -> T:
        """What ``ask`` gets from the client; where Kaggle refuses our token, with the next one, and at last without.

        Raises:
            Refused: any status that is no success.
            NetworkError: what answers is not Kaggle.
        """
        while True:
            try:
                return self._call(ask, headers)
            except Refused as refused:
                if refused.status != 401 or isinstance(refused, RefusedByStorage) or self.account is None:
                    raise
            self.refused.append(self.account)
            self.account = next(self._accounts, None)
            others = f"that from {self.account.origin}" if self.account else "without one"
            self._progress.note(f"Kaggle refuses the token from {self.refused[-1].origin}; trying {others}.")

    def file(self, ask: Callable[[Any], "Response"], headers: Mapping[str, str], name: str) -> "Response":
        """A streaming answer with the file ``name`` ("" is an archive); see :meth:`call`."""
        try:
            answer = self.call(ask, headers)
        except RefusedByStorage as refused:
            if refused.status in REPEATED or refused.status == 416:
                raise
            answer = self.call(ask, headers)  # addresses are signed for a short time; this is a new one
        kind = answer.headers.get("Content-Type", "")
        is_page = "html" in kind and not name.lower().endswith((".html", ".htm"))
        if is_page or "application/json" in kind:  # the client has read JSON of Kaggle; that of files has no type here
            answer.close()
            raise NetworkError(_STRANGE)
        return answer

    def persistently(self, ask: Callable[[Any], T]) -> T:
        """As :meth:`call`, tried again while Kaggle does not answer.

        Raises:
            NetworkError: it does not, all the time.
            Refused: it answers that it will not.
        """
        import requests
        import urllib3

        began = monotonic()
        for number in count(1):
            refusal: Refused | None = None
            try:
                left = min(self._patience.answer, began + self._patience.silence - monotonic())
                return in_time(left, lambda: self.call(ask))
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reason, for_good = cause(error)
            except TimeoutError as error:
                reason, for_good = str(error), False
            except OSError as error:  # of requests itself: REQUESTS_CA_BUNDLE names a file that is not there
                reason, for_good = f"could not be asked: {error}", True
            except Refused as refused:
                refusal, reason, for_good = refused, f"answered {refused}", refused.status not in REPEATED
            pause = max((refusal and refusal.wait) or 0, self._patience.backoff * 2 ** (number - 1))
            if for_good or number >= self._patience.tries or monotonic() - began + pause > self._patience.silence:
                times = "once" if number == 1 else f"{number} times"
                raise refusal or NetworkError(f"Kaggle {reason} (tried {times}).")
            self._progress.note(f"Kaggle {reason}; trying again in {pause:.0f} s.")
            sleep(pause)
        raise AssertionError

    def quietly(self, ask: Callable[[Any], Sequence[str]]) -> Sequence[str]:
        """For hints: nothing where it does not work."""
        try:
            return in_time(self._patience.connect, lambda: self.call(ask))
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
                raise NetworkError(_STRANGE) from None
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                raise
            except (ValueError, TypeError, AttributeError, LookupError):  # what kagglesdk makes of other JSON, or none
                raise NetworkError(_STRANGE) from None

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Kaggle's client, not signing anything yet."""
        from kagglesdk import KaggleClient, KaggleEnv

        here = {"LOCALHOST": KaggleEnv.LOCAL, "TEST": KaggleEnv.TEST}  # its others are Kaggle's own machines
        env = here.get(os.environ.get("KAGGLE_API_ENVIRONMENT", ""), KaggleEnv.PROD)
        # With any token, it looks for none by itself: it would find what was refused, and trip over broken files.
        with KaggleClient(env, api_token="", user_agent=f"tlcli/{tlcli.__version__}") as client:
            session = client.http_client()._session  # it offers no other way to timeouts and headers
            session.auth = None
            _adapt(session, self._patience)
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
            Refused: the sign-in is over (401).
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
            raise Refused(401)
        return str(answer.token)

    def _refusal(self, response: Any) -> Refused:
        """Kaggle tells errors by status, or with status 200 in JSON."""
        with response:
            status, words = _told(response)
        account = self.account or Account("")
        if any(secret in words for secret in (account.token, account.key, account.refresh_token) if secret):
            words = ""
        reason = (response.reason or "") if status == response.status_code else ""
        if response.request.method == "POST":
            return Refused(status, reason, retry_after(response.headers), words[:200])
        refused = RefusedByStorage(status, reason, retry_after(response.headers))
        refused.host = urlsplit(response.url).hostname or ""
        return refused


def _told(response: Any) -> tuple[int, str]:
    status: int = response.status_code
    if "json" not in response.headers.get("Content-Type", ""):
        return status, ""
    try:
        told = response.json()
        words = " ".join(str(told.get("message") or "").split())
        status = status if status >= 400 else int(told["code"])
    except (ValueError, AttributeError, TypeError, LookupError):
        return status, ""
    return status, "".join(character for character in words if character.isprintable())


def _adapt(session: Any, patience: Patience) -> None:
    """Timeouts for every request, and answers that the client gets right.

    It reads the body before the status where that says to be JSON; and so it does with files, all of them and into
    memory. Files are what is asked for by GET.
    """
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            answer = super().send(request, **{**options, "timeout": (patience.connect, patience.read)})
            answer.raise_for_status()
            if request.method == "GET" and "json" in answer.headers.get("Content-Type", ""):
                del answer.headers["Content-Type"]
            return answer

    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())
