"""``python -m tlcli``."""

from tlcli.cli.app import main

if __name__ == "__main__":
    main()
