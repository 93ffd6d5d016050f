"""Kaggle data sets: what to do by hand."""

from tlcli.errors import NetworkError


def explain(slug: str) -> NetworkError:
    """How to get the data set ``owner/name`` without a program."""
    return NetworkError(
        f"Kaggle's '{slug}' is downloaded by hand: open https://www.kaggle.com/datasets/{slug}, press Download, "
        "then run: tlcli fetch --from PATH/TO/archive.zip"
    )
