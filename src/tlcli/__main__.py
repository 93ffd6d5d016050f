"""``python -m tlcli``, and the command ``tlcli``."""

from typing import NoReturn

from tlcli.cli import interrupts


def run() -> NoReturn:
    """Runs the command line. Ctrl-C is watched before anything that takes time to import."""
    interrupts.watch()
    from tlcli.cli import app  # noqa: PLC0415 - see above

    app.run()


if __name__ == "__main__":
    run()
