"""What Kaggle's refusals mean, and what to do about each."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from tlcli.datasets.acquire.downloads.refusals import Refused, when
from tlcli.datasets.acquire.sources.kaggle.account import Account
from tlcli.datasets.acquire.sources.kaggle.client import Kaggle, RefusedByStorage
from tlcli.errors import NetworkError

MAKE_ONE = (
    "Make one: sign in at https://www.kaggle.com/settings/api, press Generate New Token, save it as "
    "~/.kaggle/access_token, run: chmod 600 ~/.kaggle/access_token - and then the same command again"
)


class DatasetRefusals:
    """What refusals of a data set mean."""

    def __init__(self, slug: str, version: int | None, kaggle: Kaggle) -> None:
        self._slug, self._version, self._kaggle = slug, version, kaggle
        self._owner, self._name = slug.split("/")
        self._page = f"https://www.kaggle.com/datasets/{slug}"

    def about(self) -> Any:
        """What Kaggle knows of it; None where that is not for us, which the download may be all the same."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = self._owner, self._name
        try:
            return self._kaggle.persistently(lambda client: client.datasets.dataset_api_client.get_dataset(request))
        except Refused as refused:
            if refused.status in (401, 403) and not isinstance(refused, RefusedByStorage):
                return None
            raise self.explaining("", None)(refused) from None

    def explaining(self, file: str, newest: int | None) -> Callable[[Refused], NetworkError]:
        """How a refusal of ``file`` ("" is all) is told; ``newest`` is the newest version, where it is known."""

        def explain(refused: Refused) -> NetworkError:
            what = f"'{self._slug}'"
            if isinstance(refused, RefusedByStorage):
                return _by_storage(refused, what)
            if newest and self._version and self._version > newest and refused.status in (400, 403, 404):
                return NetworkError(f"Kaggle's {what} has no version {self._version}; the newest is {newest}.")
            if refused.status == 404:
                return NetworkError(self._not_found(file, newest))
            if refused.status in (401, 403):
                return NetworkError(self._forbidden(newest))
            return _general(refused, what, self._page)

        return explain

    def _not_found(self, file: str, newest: int | None) -> str:
        there = self._kaggle.quietly(self._files) if file else ()
        if file and (newest or there):
            return _no_file(f"'{self._slug}'", file, there)
        if newest and self._version:
            return f"Kaggle's '{self._slug}' has no version {self._version} (any more); the newest is {newest}."
        if newest:
            return f"Kaggle knows '{self._slug}', and has no files of it (any more). Look at {self._page}."
        search = f" Look for it at https://www.kaggle.com/datasets?search={self._name}"
        return f"Kaggle has no data set '{self._slug}' (any more).{self._near() or search}"

    def _forbidden(self, newest: int | None) -> str:
        kaggle, near = self._kaggle, "" if newest else self._near()
        if kaggle.refused:
            return _token_refused(kaggle.refused, f"'{self._slug}'") + near
        if kaggle.account is None and newest:
            return f"Kaggle gives the files of '{self._slug}' only with a token. {MAKE_ONE}."
        if kaggle.account is None:
            return (
                f"Kaggle has no public data set '{self._slug}'.{near} Look at {self._page} - if it is there, it is "
                f"private or wants your consent, and needs a token. {MAKE_ONE}."
            )
        return (
            f"Kaggle does not give '{self._slug}' to the owner of the token from {kaggle.account.origin}.{near} "
            f"Look at {self._page}, signed in as that user: it is private, wants your consent, or is not there."
        )

    def _near(self) -> str:
        return _nearest(self._slug, self._kaggle.quietly(self._search))

    def _search(self, client: Any) -> list[str]:
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetsRequest

        request = ApiListDatasetsRequest()
        request.search = self._name.replace("-", " ")
        return [found.ref for found in client.datasets.dataset_api_client.list_datasets(request).datasets]

    def _files(self, client: Any) -> list[str]:
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest

        request = ApiListDatasetFilesRequest()
        request.owner_slug, request.dataset_slug, request.page_size = self._owner, self._name, 200
        request.dataset_version_number = self._version
        return [found.name for found in client.datasets.dataset_api_client.list_dataset_files(request).dataset_files]


class CompetitionRefusals:
    """What refusals of a competition's data mean."""

    def __init__(self, name: str, kaggle: Kaggle) -> None:
        self._name, self._kaggle = name, kaggle
        self._page = f"https://www.kaggle.com/competitions/{name}"

    def needs_token(self) -> NetworkError:
        """Nobody gets competition data without one."""
        return NetworkError(
            f"Kaggle gives the data of competitions, as '{self._name}', only with a token. {MAKE_ONE}. "
            f"The rules must be accepted once, too: {self._page}/rules"
        )

    def explaining(self, file: str) -> Callable[[Refused], NetworkError]:
        """How a refusal of ``file`` ("" is all) is told."""

        def explain(refused: Refused) -> NetworkError:
            what = f"competition '{self._name}'"
            if isinstance(refused, RefusedByStorage):
                return _by_storage(refused, what)
            if refused.status == 404:
                return NetworkError(self._not_found(file))
            if refused.status in (401, 403):
                return NetworkError(self._forbidden(refused))
            return _general(refused, what, self._page)

        return explain

    def _not_found(self, file: str) -> str:
        if file and (there := self._kaggle.quietly(self._files)):
            return _no_file(f"competition '{self._name}'", file, there)
        hint = self._near() or " Its name is the last part of its page's address."
        return f"Kaggle has no competition '{self._name}' (any more).{hint}"

    def _forbidden(self, refused: Refused) -> str:
        if self._kaggle.refused:
            return _token_refused(self._kaggle.refused, f"the data of the competition '{self._name}'")
        words = f" (It says: {refused.words})" if refused.words else ""
        return (
            f"Kaggle gives the data of the competition '{self._name}' to those who have accepted its rules: "
            f"open {self._page}/rules signed in as the token's owner, accept them (Kaggle may want the account's phone "
            f"number verified), and run the same command again.{words}{self._near()}"
        )

    def _near(self) -> str:
        return _nearest(self._name, self._kaggle.quietly(self._search))

    def _search(self, client: Any) -> list[str]:
        from kagglesdk.competitions.types.competition_api_service import ApiListCompetitionsRequest

        request = ApiListCompetitionsRequest()
        request.search = self._name.replace("-", " ")
        found = client.competitions.competition_api_client.list_competitions(request).competitions
        return [one.ref.rstrip("/").rpartition("/")[2] for one in found]

    def _files(self, client: Any) -> list[str]:
        from kagglesdk.competitions.types.competition_api_service import ApiListDataFilesRequest

        request = ApiListDataFilesRequest()
        request.competition_name = self._name
        return [found.name for found in client.competitions.competition_api_client.list_data_files(request).files]


def _nearest(name: str, found: Sequence[str]) -> str:
    """`` Did you mean 'alien-vs-predator'?``, or nothing."""
    near = difflib.get_close_matches(name, found, 1, 0.5)
    return f" Did you mean '{near[0]}'?" if near and near[0] != name else ""


def _no_file(of: str, file: str, there: Sequence[str]) -> str:
    listed = f" Files there: {', '.join(there[:8])}{' and others' if len(there) > 8 else ''}." if there else ""
    return f"Kaggle's {of} has no file '{file}'.{_nearest(file, there)}{listed}"


def _token_refused(accounts: Sequence[Account], what: str) -> str:
    origins = " and ".join(account.origin for account in accounts)
    return (
        f"Kaggle refuses the token from {origins} (it has expired, or was revoked), and gives {what} to nobody without "
        f"one. {MAKE_ONE}."
    )


def _by_storage(refused: RefusedByStorage, what: str) -> NetworkError:
    return NetworkError(
        f"Kaggle gives {what}, and sends on to its storage, where {refused.host} answered {refused}. Perhaps a "
        "firewall or a proxy keeps it from you; else try again later."
    )


def _general(refused: Refused, what: str, page: str) -> NetworkError:
    words = f" (It says: {refused.words})" if refused.words else ""
    if refused.status == 410:
        return NetworkError(f"Kaggle's {what} was removed for good; it must come from elsewhere.{words}")
    if refused.status == 429:
        later = when(refused.wait) or "; try again in some minutes"
        return NetworkError(f"Kaggle has had too many requests from here{later}.")
    if refused.status == 400:
        return NetworkError(f"Kaggle does not understand the request for {what}; is that its name at {page}?{words}")
    later = " Try again later." if refused.status >= 500 else f" Look at {page}."
    return NetworkError(f"Asked for {what}, Kaggle answered {refused}.{words}{later}")
