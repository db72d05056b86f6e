"""Which files are followed, and when what has no end is a record."""

import os
import shutil

from popham.agent.collect.tail.finding import find_files
from popham.agent.collect.tail.followed import GRACE, QUIET
from popham.agent.collect.tail.source import Source, sources_of
from popham.testing.virtual import pass_time


def test_a_record_says_where_its_line_stood(story):
    async def tell():
        story.write("app.log", "a line\n")
        await story.start(story.source(attributes={"service.name": "shop", "popham.source": "not this"}))
        (record,) = story.stream.records()
        said = {one.key: one.value.string_value for one in record.attributes}
        assert said == {
            "service.name": "shop",
            "log.file.name": "app.log",
            "log.file.path": str(story.folder / "app.log"),
            "popham.source": "shop",
        }
        assert record.time_unix_nano == int(story.clock.now() * 1e9)

    story.run(tell)


def test_files_that_were_there_are_begun_at_their_end_and_later_ones_at_their_beginning(story):
    async def tell():
        source = story.source(whole=False)
        story.write("old.log", "old\n")
        await story.start(source)
        story.write("old.log", "1\n")
        story.write("new.log", "2\n")
        await pass_time(2)
        await story.end()
        story.write("away.log", "3\n")
        await story.start(source)
        assert sorted(story.stream.lines()) == ["1", "2", "3"]

    story.run(tell)


def test_a_line_without_an_end_waits_for_it_and_not_for_ever(story):
    async def tell():
        story.write("app.log", "1 begun")
        await story.start()
        await pass_time(QUIET / 2)
        assert story.stream.lines() == []
        story.write("app.log", " and ended\n2 begun")
        await pass_time(QUIET * 2)
        story.write("app.log", "\n3\n")
        await pass_time(2)
        assert story.stream.lines() == ["1 begun and ended", "2 begun", "3"]

    story.run(tell)


def test_a_record_of_several_lines_ends_with_the_next_or_when_nothing_more_comes(story):
    async def tell():
        await story.start(story.source(start=r"\d "))
        story.write("app.log", "1 a\n at b\n at c\n2 d\n")
        await pass_time(0.9)
        assert story.stream.lines() == ["1 a\n at b\n at c"]
        await pass_time(2)
        assert story.stream.lines()[1:] == ["2 d"]

    story.run(tell)


def test_a_policy_change_leaves_alone_what_stays(story):
    async def tell():
        story.write("app.log", "1\n")
        story.write("other.txt", "old\n")
        kept = story.source(whole=False)
        await story.start(kept, story.source("*.txt", name="other"))
        files = story.files.status().sources
        assert [files["shop"].files, files["other"].files] == [1, 1]
        story.write("app.log", "2\n")
        story.write("other.txt", "not any more\n")
        story.files.reconfigure([kept])
        await story.files.collect()
        assert story.stream.lines() == ["old", "2"]
        assert list(story.files.status().sources) == ["shop"]

    story.run(tell)


def test_a_link_that_leads_elsewhere_is_a_rotation(story):
    async def tell():
        story.write("1.txt", "1\n")
        (story.folder / "app.log").symlink_to("1.txt")
        await story.start()
        story.write("1.txt", "2\n")
        story.write("2.txt", "3\n")
        (story.folder / "new").symlink_to("2.txt")
        (story.folder / "new").rename(story.folder / "app.log")
        await pass_time(2)
        assert sorted(story.stream.lines()) == ["1", "2", "3"]

    story.run(tell)


def test_a_directory_that_comes_back_is_read_on(story):
    async def tell():
        (story.folder / "logs").mkdir()
        story.write("logs/app.log", "1\n")
        await story.start(story.source("logs/*.log"))
        (story.folder / "logs").rename(story.folder / "away")
        await pass_time(GRACE * 3)
        assert story.files.status().sources["shop"].files == 0
        story.write("away/app.log", "2\n")
        (story.folder / "away").rename(story.folder / "logs")
        await pass_time(5)
        assert story.stream.lines() == ["1", "2"]

    story.run(tell)


def test_globs_find_files_and_leave_out_what_is_excluded_packed_or_hidden(tmp_path):
    for name in ("a/x.log", "a/b/y.log", "a/b/.hidden.log", "a/b/y.log.gz", "a/debug/z.log", "a/[1].log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/b/around").symlink_to(tmp_path / "a")
    os.link(tmp_path / "a/x.log", tmp_path / "a/zz.log")

    def find(*globs, exclude=(), **bounds):
        source = Source(
            name="s",
            paths=tuple(f"{tmp_path}/{one}" for one in globs),
            exclude=tuple(f"{tmp_path}/{one}" for one in exclude),
        )
        found = find_files([source], **bounds)
        return [path.removeprefix(f"{tmp_path}/") for path, _ in found.files.values()], found.over

    assert find("a/*.log") == (["a/[1].log", "a/x.log"], 0)
    assert find("**/*.log*", exclude=["**/debug/*"]) == (["a/[1].log", "a/x.log", "a/b/y.log"], 0)
    assert find("a/x.log", "missing/*.log") == (["a/x.log"], 0)
    assert find("a/*.log", most=1) == (["a/[1].log"], 1)
    assert find("**", looked=3)[1] == 1
    shutil.rmtree(tmp_path)
    assert find("a/*.log") == ([], 0)


def test_a_policy_becomes_sources():
    log = {
        "name": "n",
        "paths": ["/a"],
        "multiline": {"start": "x"},
        "from": "beginning",
        "encoding": "utf-16le",
    }
    assert sources_of({"logs": [log]}) == (
        Source(name="n", paths=("/a",), start="x", whole=True, encoding="utf-16le"),
    )
    assert sources_of({}) == ()
