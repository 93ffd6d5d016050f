"""Entry point of ``python -m tlcli`` and of the command ``tlcli``."""

from typing import NoReturn

from tlcli.cli import interrupts


def run() -> NoReturn:
    """Runs the command line. Signals are handled before the first import that takes time."""
    interrupts.watch()
    from tlcli.cli import app  # noqa: PLC0415 - see above

    app.run()


if __name__ == "__main__":
    run()
