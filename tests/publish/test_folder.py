"""What is built replaces nothing but what was built before."""

from __future__ import annotations

import pytest

from publish import site, slides
from publish.__main__ import main
from publish.folder import MARK

BUILDERS = pytest.mark.parametrize("build", [site.build, slides.build], ids=["site", "slides"])


@BUILDERS
def test_a_folder_of_its_own_is_emptied_and_others_are_made(build, tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "deep", tmp_path / "empty"):
        build([], out)
        (out / "old.html").write_text("old")
        (out / "old").mkdir()
        build([], out)
        assert (out / MARK).is_file() and (out / "page.css").is_file()
        assert not (out / "old.html").exists() and not (out / "old").exists()


@BUILDERS
def test_somebody_elses_folder_is_left_alone(build, tmp_path):
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("mine")
    with pytest.raises(FileExistsError, match="holds files that were not built here"):
        build([], tmp_path)
    assert thesis.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@BUILDERS
def test_a_file_in_the_way_stays(build, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file; wanted a folder"):
        build([], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@BUILDERS
def test_a_link_is_not_followed_even_into_a_folder_of_its_own(build, tmp_path):
    build([], tmp_path / "own")
    for target in ("own", "nowhere"):
        (tmp_path / "link").symlink_to(tmp_path / target)
        with pytest.raises(FileExistsError, match="is a link; wanted a folder"):
            build([], tmp_path / "link")
        (tmp_path / "link").unlink()
    assert (tmp_path / "own" / "page.css").is_file() and not (tmp_path / "nowhere").exists()


def test_a_link_inside_is_removed_and_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    site.build([], tmp_path / "out")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "mine")
    site.build([], tmp_path / "out")
    assert not (tmp_path / "out" / "link").exists() and (tmp_path / "mine" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("what", ["site", "slides", "recap"])
def test_the_command_refuses_in_one_sentence_before_it_runs_a_lesson(what, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("mine")
    assert main([what, str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err == f"{tmp_path} holds files that were not built here, and would lose them. Name an empty or a new folder.\n"
    assert not said.out and (tmp_path / "thesis.tex").read_text() == "mine"
