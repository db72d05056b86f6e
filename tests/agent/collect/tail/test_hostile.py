"""Whoever may write into a directory of logs cannot use that against the agent."""

import dataclasses

import pytest

from popham.agent.collect.tail.finding import DEEP, find_files
from popham.agent.collect.tail.followed import Followed
from popham.agent.collect.tail.source import Source


def source(*paths, **further):
    return Source(name="shop", paths=tuple(paths), **further)


def test_rel_25_a_link_to_itself_hides_no_other_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.log").write_text("line\n")
    found = find_files([source(f"{tmp_path}/*/*.log"), source(f"{tmp_path}/**/*.log")])
    assert [path for path, _ in found.files.values()] == [f"{tmp_path}/shop/a.log"]


def test_rel_25_a_search_goes_into_directories_as_deep_as_is_allowed_and_not_as_somebody_nests_them(tmp_path):
    deep = tmp_path
    while str(deep).count("/") < DEEP + 10:
        deep = deep / "d"
        deep.mkdir()
    (deep / "a.log").write_text("line\n")
    (tmp_path / "a.log").write_text("line\n")
    found = find_files([source(f"{tmp_path}/**/*.log")])
    assert [path for path, _ in found.files.values()] == [f"{tmp_path}/a.log"]


def test_rel_25_globs_with_many_stars_are_compared_in_steps_that_do_not_multiply(tmp_path):
    deep = tmp_path / "/".join("d" * 30)
    deep.mkdir(parents=True)
    (deep / "a.log").write_text("line\n")
    where = f"{deep}/*.log"
    assert len(find_files([source(where, exclude=("/**" * 30 + "/b",))]).files) == 1
    assert not find_files([source(where, exclude=("/**" * 30 + "/a.log",))]).files


def test_a_directory_that_became_a_link_since_it_was_judged_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.log").write_text("secret\n")
    status = (secret / "a.log").stat()
    (tmp_path / "logs").symlink_to(secret)
    path = str(tmp_path / "logs" / "a.log")
    with pytest.raises(OSError, match=r"."):
        Followed.open(source(path), path, path, (status.st_dev, status.st_ino), 0.0)


def test_files_of_a_source_that_comes_during_a_search_are_begun_at_their_end(story):
    story.write("old.txt", "before\n")
    late = story.source("*.txt", name="late", whole=False)

    async def tell():
        story.write("a.log", "one\n")
        await story.start(dataclasses.replace(story.source()))
        reader, judge = story.files._reader, story.files._reader._may_read  # between two steps of a search

        def judged(path):
            reader.assign((story.source(), late))
            return judge(path)

        reader._may_read = judged  # likewise
        story.write("b.log", "two\n")
        await story.files.collect()
        await story.files.collect()
        story.write("old.txt", "after\n")
        await story.files.collect()
        assert sorted(story.stream.lines()) == ["after", "one", "two"]

    story.run(tell)
