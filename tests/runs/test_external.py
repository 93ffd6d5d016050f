"""Results of external test sets: their names and files, and the section of the report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from tests.reports.sample import external, scores

from tlcli.datasets.index import Index, LabelledImage
from tlcli.evaluation.split_metrics import measure
from tlcli.heads.task import Task
from tlcli.reports.external import external_section, update_report
from tlcli.runs.external import ExternalResult, external_name, read_externals, write_external
from tlcli.runs.predictions import read_predictions

LABELS = ("cat", "dog")


def result(name: str, root: Path) -> ExternalResult:
    truth, probabilities = scores(LABELS, 40, 0)
    return replace(external(LABELS, measure(truth, probabilities, Task(LABELS))), name=name, data_root=str(root))


def written(run: Path, root: Path) -> ExternalResult:
    image = LabelledImage(root / "cat/1.png", "cat/1.png", "ab" * 32, "cat", "test", "ab" * 32)
    one = result(external_name(run, root), root)
    write_external(run, one, Index(root, LABELS, (image,), {}, ()), np.array([[0.25, 0.75]]))
    return one


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = written(tmp_path, Path("/data/site"))
    assert read_externals(tmp_path) == ([one], {})
    assert sorted(path.name for path in (tmp_path / "external/site").iterdir()) == ["metrics.json", "predictions.csv"]
    (row,) = read_predictions(tmp_path / "external/site")["test"]
    assert (row.path, row.label, row.predicted) == ("cat/1.png", "cat", "dog")


def test_folders_of_one_name_have_results_of_their_own(tmp_path: Path) -> None:
    roots = ["/a/test", "/b/test", "/c/TEST", "/a/test", "/", "/d/..x y"]
    assert [written(tmp_path, Path(root)).name for root in roots] == ["test", "test-2", "TEST-3", "test", "data", "x_y"]
    assert len(read_externals(tmp_path)[0]) == 5


def test_a_damaged_result_hides_no_others(tmp_path: Path) -> None:
    one = written(tmp_path, Path("/data/site"))
    (tmp_path / "external/broken").mkdir()
    (tmp_path / "external/broken/metrics.json").write_text("{")
    found, broken = read_externals(tmp_path)
    assert (found, set(broken)) == ([one], {"broken"})


def test_the_section_of_a_report_is_replaced_each_time(tmp_path: Path) -> None:
    update_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "report.html").write_text(f"<p>before</p>{external_section([])}<p>after</p>")
    (tmp_path / "report.json").write_text('{"evaluated_runs": 3}')
    for root in ("/a/site", "/b/<site> \\1", "/a/site"):
        written(tmp_path, Path(root))
        update_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<p>before</p><!--")
    assert page.rstrip().endswith("<p>after</p>")
    assert page.count('<section id="external">') == page.count("<h3>site</h3>") == 1
    assert "/b/&lt;site&gt; \\1" in page
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["evaluated_runs"] == 3
    assert [one["name"] for one in document["external_test_sets"]] == ["_site_1", "site"]
