"""An archive at an https (or http) address."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tlcli.datasets.acquire.downloads.download import RemoteFile
from tlcli.datasets.acquire.downloads.failures import without_secrets
from tlcli.datasets.acquire.downloads.retries import RetryPolicy
from tlcli.errors import NetworkError

if TYPE_CHECKING:
    from requests import Response


def remote_file(url: str, digest: str | None = None) -> RemoteFile:
    """What to download from an address.

    Args:
        url: http or https; its query, which may hold a secret, is never shown.
        digest: expected md5 (32 hex digits) or sha256 (64).
    """
    shown = without_secrets(url)

    def request(headers: Mapping[str, str], policy: RetryPolicy) -> "Response":
        import requests

        response = requests.get(url, headers=dict(headers), stream=True, timeout=(policy.connect, policy.read))
        hops = [earlier.url for earlier in response.history] + [response.url]
        if digest is None and hops[0].startswith("https:") and not all(hop.startswith("https:") for hop in hops):
            response.close()
            message = f"{shown} redirects from https to http, where anybody may change the file."
            raise NetworkError("network.insecure_redirect", message, "Give its sha256.")
        return response

    return RemoteFile(shown.rpartition("/")[2] or shown, shown, url, request, digest=digest)
