"""What Kaggle has for us: which files to download, in which version."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlcli.datasets.acquire.downloads.download import Patience, Wanted
from tlcli.datasets.acquire.sources.kaggle.account import find_accounts
from tlcli.datasets.acquire.sources.kaggle.client import Kaggle
from tlcli.datasets.acquire.sources.kaggle.refusals import CompetitionRefusals, DatasetRefusals
from tlcli.datasets.acquire.sources.offer import Offer
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from requests import Response


_PATIENCE = Patience()


def dataset(
    slug: str,
    version: int | None = None,
    files: Sequence[str] = (),
    size: int | None = None,
    sha256: str | None = None,
    patience: Patience = _PATIENCE,
    progress: Progress = SILENT,
) -> Offer:
    """A data set, in the version asked for or the newest; public ones need no token.

    Args:
        slug: owner/name.
        version: its number; None is the newest.
        files: only these files of it; empty is all, as one zip.
        size: expected bytes of the download.
        sha256: its expected digest.
        patience: how long Kaggle is waited for.
        progress: told what happens to a token.

    Raises:
        NetworkError: Kaggle does not answer, or has no such data set; the message says what to do.
    """
    from kagglesdk.datasets.types import dataset_api_service as api

    owner, name = slug.split("/")
    kaggle = Kaggle(find_accounts(progress), patience, progress)
    place = DatasetRefusals(slug, version, kaggle)
    about = place.about()
    newest = about.current_version_number if about else None
    newest = newest if isinstance(newest, int) and newest > 0 else None
    number = version or newest

    def wanted(file: str) -> Wanted:
        request = api.ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = owner, name
        request.file_name, request.dataset_version_number = file or None, number

        def opened(headers: Mapping[str, str], _: Patience) -> "Response":
            def ask(client: Any) -> "Response":
                answer: Response = client.datasets.dataset_api_client.download_dataset(request)
                return answer

            return kaggle.file(ask, headers, file)

        shown = f"Kaggle's '{slug}'" + (f", file '{file}'" if file else "")
        identity = f"kaggle dataset {slug} {number} {file}"
        explain = place.explaining(file, newest)
        return Wanted(file or f"{name}.zip", shown, identity, opened, explain, size, sha256)

    licence = about.license_name if about and isinstance(about.license_name, str) else ""
    return Offer(tuple(map(wanted, files or ("",))), str(number) if number else None, licence or None)


def competition(
    name: str,
    files: Sequence[str] = (),
    size: int | None = None,
    sha256: str | None = None,
    patience: Patience = _PATIENCE,
    progress: Progress = SILENT,
) -> Offer:
    """The data of a competition; Kaggle gives it to those who have accepted its rules. See :func:`dataset`."""
    from kagglesdk.competitions.types import competition_api_service as api

    kaggle = Kaggle(find_accounts(progress), patience, progress)
    place = CompetitionRefusals(name, kaggle)
    if kaggle.account is None:
        raise place.needs_token()

    def wanted(file: str) -> Wanted:
        request = api.ApiDownloadDataFileRequest() if file else api.ApiDownloadDataFilesRequest()
        request.competition_name = name
        if file:
            request.file_name = file

        def opened(headers: Mapping[str, str], _: Patience) -> "Response":
            def ask(client: Any) -> "Response":
                data = client.competitions.competition_api_client
                answer: Response = data.download_data_file(request) if file else data.download_data_files(request)
                return answer

            return kaggle.file(ask, headers, file)

        shown = f"Kaggle's competition '{name}'" + (f", file '{file}'" if file else "")
        identity = f"kaggle competition {name} {file}"
        return Wanted(file or f"{name}.zip", shown, identity, opened, place.explaining(file), size, sha256)

    return Offer(tuple(map(wanted, files or ("",))))
