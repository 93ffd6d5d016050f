"""Kaggle data sets: what to do by hand."""

import shlex

from tlcli.errors import NetworkError


def explain(slug: str, config: str) -> NetworkError:
    """How to get the data set ``owner/name`` without a program; ``config`` is what --config takes."""
    return NetworkError(
        f"Kaggle's '{slug}' is downloaded by hand: open https://www.kaggle.com/datasets/{slug}, press Download, "
        f"then run: tlcli fetch --config {shlex.quote(config)} --from PATH/TO/archive.zip"
    )
