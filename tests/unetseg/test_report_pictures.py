"""Pictures are taken out of a report as they stand in it."""

from __future__ import annotations

from pathlib import Path

from unetseg.project import load_project
from unetseg.report_pictures import ReportPicture, report_pictures

PAGE = """<h2>Errors</h2><h3>worst: a &amp; b</h3>
<figure><img alt="scan, worst: a &amp; b" src="data:image/jpeg;base64,AA=="><figcaption>scan</figcaption></figure>
<figure><img alt="errors: iris, F1 0.5, worst: a &amp; b" src="data:image/jpeg;base64,BB=="></figure>
<h3>best: c</h3><img alt="scan, best: c" src="data:image/jpeg;base64,CC=="><img src="http://elsewhere/x.png">"""


def test_each_picture_comes_with_its_scan_and_what_it_shows():
    assert report_pictures(PAGE) == [
        ReportPicture("worst: a & b", "scan", "data:image/jpeg;base64,AA=="),
        ReportPicture("worst: a & b", "errors: iris, F1 0.5", "data:image/jpeg;base64,BB=="),
        ReportPicture("best: c", "scan", "data:image/jpeg;base64,CC=="),
    ]


def test_a_report_of_an_evaluation_has_each_scan_with_all_its_pictures(trained_folder: Path):
    page = (load_project(trained_folder).models / "0001" / "evaluation" / "report.html").read_text()
    found = report_pictures(page)
    assert len(found) == page.count("<img ")
    for scan in {picture.scan for picture in found}:
        shows = [picture.shows.partition(",")[0] for picture in found if picture.scan == scan]
        assert shows == ["scan", "truth", "prediction", "errors: iris", "errors: pupil", "errors: sclera"]
