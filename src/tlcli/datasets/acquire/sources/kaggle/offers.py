"""Data sets and competitions on Kaggle, as offers: which files to download, in which version."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tlcli.datasets.acquire.downloads.download import RemoteFile
from tlcli.datasets.acquire.downloads.failures import HttpStatusError
from tlcli.datasets.acquire.downloads.retries import RetryPolicy
from tlcli.datasets.acquire.sources.kaggle.account import find_accounts
from tlcli.datasets.acquire.sources.kaggle.client import KaggleClient
from tlcli.datasets.acquire.sources.kaggle.refusals import Item, explain, token_needed
from tlcli.datasets.acquire.sources.source import Offer
from tlcli.progress import Progress

if TYPE_CHECKING:
    from requests import Response


def _call(kind: str, method: str, **fields: object) -> Callable[[Any], Any]:
    """A call of Kaggle's client: ``list_datasets`` of kind ``dataset`` takes an ``ApiListDatasetsRequest``."""

    def ask(client: Any) -> Any:
        from kagglesdk.competitions.types import competition_api_service
        from kagglesdk.datasets.types import dataset_api_service

        requests = {"competition": competition_api_service, "dataset": dataset_api_service}[kind]
        request = getattr(requests, f"Api{method.title().replace('_', '')}Request")()
        for name, value in fields.items():
            setattr(request, name, value)
        return getattr(getattr(getattr(client, f"{kind}s"), f"{kind}_api_client"), method)(request)

    return ask


def dataset_offer(
    slug: str,
    files: Sequence[str],
    version: int | None,
    size: int | None,
    sha256: str | None,
    policy: RetryPolicy,
    progress: Progress,
) -> Offer:
    """A data set, in the version that is wanted or the newest; public ones need no token.

    Args:
        slug: owner/name.
        files: only these files of it; empty is all, as one zip.
        version: its number; None is the newest.
        size: expected bytes of the download.
        sha256: its expected digest.
        policy: timeouts and the number of tries.
        progress: receives what happens to credentials.

    Raises:
        NetworkError: Kaggle does not answer, or has no such data set.
    """
    owner, name = slug.split("/")
    of_this = partial(_call, "dataset", owner_slug=owner, dataset_slug=name)

    def search(client: Any) -> list[str]:
        return [one.ref for one in _call("dataset", "list_datasets", search=name.replace("-", " "))(client).datasets]

    def list_files(client: Any) -> list[str]:
        listed = of_this("list_dataset_files", page_size=200, dataset_version_number=version)(client)
        return [one.name for one in listed.dataset_files]

    kaggle = KaggleClient(find_accounts(progress), policy, progress)
    page = f"https://www.kaggle.com/datasets/{slug}"
    item = Item(f"data set '{slug}'", slug, page, search, list_files, version=version)
    try:
        about = kaggle.persistently(of_this("get_dataset"))
    except HttpStatusError as refused:
        if refused.status not in (401, 403) or refused.host:
            raise explain(kaggle, item, "", refused) from None
        about = None  # the account may not view it; the download may still be allowed
    newest, licence = getattr(about, "current_version_number", None), getattr(about, "license_name", None)
    item.newest = newest if isinstance(newest, int) and newest > 0 else None
    number = version or item.newest

    def download(file: str) -> Callable[[Any], Any]:
        return of_this("download_dataset", file_name=file or None, dataset_version_number=number)

    remote_files = _remote_files(kaggle, item, download, files, f"version {number}", size, sha256)
    known = licence if isinstance(licence, str) and licence else None
    return Offer(remote_files, version=str(number) if number else None, licence=known)


def competition_offer(
    name: str,
    files: Sequence[str],
    size: int | None,
    sha256: str | None,
    policy: RetryPolicy,
    progress: Progress,
) -> Offer:
    """The data of a competition; Kaggle gives it to those who have accepted its rules. See :func:`dataset_offer`."""
    of_this = partial(_call, "competition", competition_name=name)

    def search(client: Any) -> list[str]:
        found = _call("competition", "list_competitions", search=name.replace("-", " "))(client)
        return [one.ref.rstrip("/").rpartition("/")[2] for one in found.competitions]

    def list_files(client: Any) -> list[str]:
        return [one.name for one in of_this("list_data_files")(client).files]

    def download(file: str) -> Callable[[Any], Any]:
        return of_this("download_data_file", file_name=file) if file else of_this("download_data_files")

    kaggle = KaggleClient(find_accounts(progress), policy, progress)
    page = f"https://www.kaggle.com/competitions/{name}"
    item = Item(f"competition '{name}'", name, page, search, list_files, rules=f"{page}/rules")
    if kaggle.account is None:
        raise token_needed(item)
    return Offer(_remote_files(kaggle, item, download, files, "", size, sha256))


def _remote_files(
    kaggle: KaggleClient,
    item: Item,
    download: Callable[[str], Callable[[Any], Any]],
    files: Sequence[str],
    version: str,
    size: int | None,
    sha256: str | None,
) -> tuple[RemoteFile, ...]:
    """One for each file that is wanted; by default one zip of all."""

    def remote_file(name: str) -> RemoteFile:
        def request(headers: Mapping[str, str], _: RetryPolicy) -> "Response":
            return kaggle.file(download(name), headers, name)

        source = f"Kaggle's {item.title}" + (f", file '{name}'" if name else "")
        zipped = f"{item.name.rpartition('/')[2]}.zip"
        explained = partial(explain, kaggle, item, name)
        return RemoteFile(name or zipped, source, f"{source} {version}", request, explained, size, sha256)

    return tuple(map(remote_file, files or ("",)))
