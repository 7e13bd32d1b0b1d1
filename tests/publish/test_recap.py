"""The sheet to photograph: one page, with the recap of every lesson."""
from __future__ import annotations

import re

from publish import recap


def test_one_page_with_every_recap(lessons, tmp_path, browser):
    pdf, page = recap.build(lessons, tmp_path)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) == 1
    html = page.read_text(encoding="utf-8")
    for lesson in lessons:
        if "/" not in lesson.page:
            assert f"<h2>{lesson.title}</h2>" in html
    assert html.count("<svg") >= 8 and html.count("<table") >= 2 and "input_area" not in html.partition("</style>")[2]
