"""What a source has for us."""

from dataclasses import dataclass

from tlcli.datasets.acquire.downloads.download import Wanted


@dataclass(frozen=True)
class Offer:
    """Files to download, and what is known of them."""

    wanted: tuple[Wanted, ...]
    version: str | None = None
    """As the source counts them."""
    licence: str | None = None
