"""Data sets and competitions on Kaggle, as offers: which files to download, in which version."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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

# What kagglesdk offers is imported late: it takes a second.


def dataset_offer(
    slug: str, files: Sequence[str], version: int | None, policy: RetryPolicy, progress: Progress
) -> Offer:
    """A data set, in the version that is wanted or the newest; public ones need no token.

    Args:
        slug: owner/name.
        files: only these files of it; empty is all, as one zip.
        version: its number; None is the newest.
        policy: timeouts and the number of tries.
        progress: receives what happens to credentials.

    Raises:
        NetworkError: Kaggle does not answer, or has no such data set.
    """
    from kagglesdk.datasets.services.dataset_api_service import DatasetApiClient
    from kagglesdk.datasets.types import dataset_api_service as types

    owner, name = slug.split("/")
    this = {"ownerSlug": owner, "datasetSlug": name}
    kaggle = KaggleClient(find_accounts(progress), policy, progress)
    item = Item(f"data set '{slug}'", f"https://www.kaggle.com/datasets/{slug}", version=version)
    request = types.ApiGetDatasetRequest.from_dict(this)
    try:
        about = kaggle.persistently(lambda sender: DatasetApiClient(sender).get_dataset(request))
    except HttpStatusError as refused:
        if refused.status not in (401, 403) or refused.host:
            raise explain(kaggle, item, "", refused) from None
        about = types.ApiDataset()  # the account may not view it; the download may still be allowed
    newest = about.current_version_number or None
    number = version or newest

    def download(file: str, sender: Any) -> Any:
        which = {**this, "fileName": file or None, "datasetVersionNumber": number}
        return DatasetApiClient(sender).download_dataset(types.ApiDownloadDatasetRequest.from_dict(which))

    item = replace(item, newest=newest)
    remote_files = _remote_files(kaggle, item, f"{name}.zip", download, files, f"version {number}")
    return Offer(remote_files, version=str(number) if number else None, licence=about.license_name or None)


def competition_offer(name: str, files: Sequence[str], policy: RetryPolicy, progress: Progress) -> Offer:
    """The data of a competition; Kaggle gives it to those who have accepted its rules. See :func:`dataset_offer`."""
    from kagglesdk.competitions.services.competition_api_service import CompetitionApiClient
    from kagglesdk.competitions.types import competition_api_service as types

    def download(file: str, sender: Any) -> Any:
        client, which = CompetitionApiClient(sender), {"competitionName": name, "fileName": file}
        if file:
            return client.download_data_file(types.ApiDownloadDataFileRequest.from_dict(which))
        return client.download_data_files(types.ApiDownloadDataFilesRequest.from_dict(which))

    kaggle = KaggleClient(find_accounts(progress), policy, progress)
    item = Item(f"competition '{name}'", f"https://www.kaggle.com/competitions/{name}", is_competition=True)
    if kaggle.account is None:
        raise token_needed(item)
    return Offer(_remote_files(kaggle, item, f"{name}.zip", download, files, ""))


def _remote_files(
    kaggle: KaggleClient,
    item: Item,
    zipped: str,
    download: Callable[[str, Any], Any],
    files: Sequence[str],
    version: str,
) -> tuple[RemoteFile, ...]:
    """One for each file that is wanted; by default one zip of all."""

    def remote_file(name: str) -> RemoteFile:
        def request(headers: Mapping[str, str], _: RetryPolicy) -> "Response":
            return kaggle.file(partial(download, name), headers, name)

        source = f"Kaggle's {item.title}" + (f", file '{name}'" if name else "")
        explained = partial(explain, kaggle, item, name)
        return RemoteFile(name or zipped, source, f"{source} {version}", request, explained)

    return tuple(map(remote_file, files or ("",)))
