"""The configs that come with tlcli."""

from pathlib import Path


def shipped_configs() -> dict[str, Path]:
    """The configs that come with tlcli, by name."""
    installed = Path(__file__).parents[1] / "configs"
    folder = installed if installed.is_dir() else Path(__file__).parents[3] / "configs"  # a checkout
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
