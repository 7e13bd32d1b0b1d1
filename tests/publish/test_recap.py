"""The sheet to photograph: one page, with the recap of every lesson."""

from __future__ import annotations

import re
import subprocess
import sys

from publish import lessons as read


def test_one_page_with_every_recap(tmp_path, browser):
    subprocess.run([sys.executable, "-m", "publish", "recap", str(tmp_path)], check=True, capture_output=True)
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "recap.pdf").read_bytes())) == 1
    html = (tmp_path / "recap.html").read_text(encoding="utf-8")
    for lesson in read.read_all(run=False):
        if "/" not in lesson.page:
            assert f"<h2>{lesson.title}</h2>" in html
    assert html.count("<svg") >= 7 and html.count("<table") >= 2 and "input_area" not in html.partition("</style>")[2]
