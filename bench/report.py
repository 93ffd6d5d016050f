"""Time of `tlcli train` and `evaluate` on solar cells, features stored, with the report and without.

python bench/report.py [--runs 3]

With: intervals, baselines, duplicates of test images, learning curve, activation maps, the page. Without:
`--set evaluate.report=false`. Both take turns after one uncounted run; so do `train` alone, where near duplicates of
the training images have not been searched yet, and `inspect`. The images (2,624) and the weights of efficientnet_lite0
come from pip. Writes bench/results/report.json.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from measure import in_turn, introduce, note, save, settings, spread, table, tlcli, values


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    introduce()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = ["--config", "solar_cells"]

        def both(report: str) -> float:
            train = tlcli(folder, folder / "cache", "train", *config, *settings(evaluate__report=report)).seconds
            return train + tlcli(folder, folder / "cache", "evaluate").seconds

        def first() -> float:
            shutil.rmtree(folder / "cache" / "duplicates", ignore_errors=True)
            return tlcli(folder, folder / "cache", "train", *config).seconds

        def again() -> float:
            return tlcli(folder, folder / "cache", "train", *config).seconds

        def inspect() -> float:
            return tlcli(folder, folder / "cache", "inspect", *config).seconds

        note("Everything once, uncounted: the features are computed")
        both("true")
        inspect()
        timed = {
            "train and evaluate, with the report": lambda: both("true"),
            "train and evaluate, without": lambda: both("false"),
            "train, near duplicates searched": first,
            "train, near duplicates known": again,
            "inspect": inspect,
        }
        rows = {title: values(seconds) for title, seconds in in_turn(timed, options.runs).items()}
        page = next((folder / "runs/solar_cells").glob("*/report.html")).stat().st_size
    print(table(("solar cells, features stored", "s"), [(t, spread(r)) for t, r in rows.items()]))
    with_report, without, *_ = rows.values()
    added = with_report["median"] - without["median"]
    print(f"The report adds {added:.1f} s; the page has {page / 1e6:.2f} MB. Medians of {options.runs} turns.")
    save("report", settings=vars(options), results=rows, page_bytes=page)


if __name__ == "__main__":
    main()
