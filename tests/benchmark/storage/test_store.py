"""Finished runs in files of their own and in ``runs.jsonl``: nothing is lost, and digits stay."""

import errno
import hashlib
import itertools
import json
import multiprocessing
import os
import traceback
from pathlib import Path

import numpy as np
import pytest

from sb3_course.benchmark import api
from sb3_course.benchmark.definition.field_types import LONGEST_NAME
from sb3_course.benchmark.storage import run_files, store
from sb3_course.benchmark.storage.result import RunResult, text_of
from sb3_course.benchmark.storage.rl_zoo import write_zoo
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark import made_up
from tests.benchmark.made_up import lines, read, single, written

GRID = made_up.grid()
SPECS = GRID.runs()
FIRST, SECOND = SPECS[:2]
LATER = SPECS[0].model_copy(update={"config": SPECS[0].config.model_copy(update={"n_envs": 7})})


def again(result: RunResult) -> RunResult:
    """The same run, made again."""
    return made_up.finished(result.spec, np.random.default_rng(1))


def test_a_line_is_what_the_file_held_and_lines_are_sorted(tmp_path, results):
    files = {path.name: path.read_text() for path in (tmp_path / "runs").glob("*.json")}
    Store(tmp_path).pack()
    names = sorted(spec.id for spec in SPECS)
    assert lines(tmp_path) == [files[f"{name}.json"] for name in names]
    assert single(tmp_path) == []


def test_results_keep_their_order_and_every_digit(tmp_path, results):
    Store(tmp_path).pack()
    assert read(tmp_path) == results
    assert Store(tmp_path).read(SPECS[::-1]) == results[::-1]
    returns = [m.returns for result in results for m in result.measurements]
    assert returns == [m.returns for result in read(tmp_path) for m in result.measurements]


def test_files_and_lines_are_read_together(tmp_path):
    results = written(tmp_path, made_up.results(GRID)[:3])
    Store(tmp_path).pack()
    results += written(tmp_path, made_up.results(GRID)[3:5])
    Store(tmp_path).write(RunResult(spec=SPECS[6], failure="made to fail"))
    kept = Store(tmp_path)
    assert (len(lines(tmp_path)), len(single(tmp_path))) == (3, 2)
    assert kept.finished() == {spec.id for spec in SPECS[:5]}
    assert [kept.has_finished(spec) for spec in SPECS[:7]] == [True] * 5 + [False] * 2
    assert kept.read(SPECS)[:5] == results
    assert [r.reason for r in kept.read(SPECS)[5:]] == ["made to fail"]


def test_a_run_that_was_made_again_counts_at_once_and_after_packing(tmp_path, results):
    Store(tmp_path).pack()
    (new,) = written(tmp_path, [again(results[0])])
    assert new != results[0]
    assert read(tmp_path) == [new, *results[1:]]
    Store(tmp_path).pack()
    assert read(tmp_path) == [new, *results[1:]]
    assert (len(lines(tmp_path)), single(tmp_path)) == (len(SPECS), [])


def test_packing_again_changes_nothing(tmp_path, results):
    Store(tmp_path).pack()
    before = (tmp_path / "runs.jsonl").stat()
    Store(tmp_path).pack()
    assert (tmp_path / "runs.jsonl").stat() == before
    Store(tmp_path / "none").pack()
    assert not (tmp_path / "none").exists()


def test_more_than_can_be_read_again_is_not_packed(tmp_path, results, monkeypatch):
    before = single(tmp_path)
    monkeypatch.setattr(run_files, "LARGEST_PACK", 1_000)
    Store(tmp_path).pack()
    assert single(tmp_path) == before and read(tmp_path) == results


class Killed(BaseException):
    """What ends a process at a moment."""


def kill_at(monkeypatch, moment: int) -> None:
    """Raise before or after the file system's next changes, and have no later one succeed."""
    moments = itertools.count()

    def counted(change):
        def until_killed(*words, **options):
            if next(moments) >= moment:
                raise Killed
            change(*words, **options)
            if next(moments) >= moment:
                raise Killed

        return until_killed

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


@pytest.mark.parametrize("made_again", [False, True])
def test_a_kill_at_any_moment_of_packing_loses_nothing(tmp_path, monkeypatch, made_again):
    for moment in itertools.count():
        folder = tmp_path / str(moment)
        results = written(folder, made_up.results(GRID)[:4])
        if made_again:
            Store(folder).pack()
            results = written(folder, [again(result) for result in results])
        with monkeypatch.context() as patch:
            kill_at(patch, moment)
            try:
                Store(folder).pack()
                ended = True
            except Killed:
                ended = False
        assert read(folder) == results, moment
        assert Store(folder).finished() == {spec.id for spec in SPECS[:4]}
        Store(folder).pack()
        assert read(folder) == results
        assert single(folder) == []
        if ended:
            break
    assert moment == 2 * 5  # before and after: one file moved in, four removed


def meanwhile(monkeypatch, folder, act):
    """Have another process act while this one writes ``runs.jsonl``; return that process."""
    fork, write, started = multiprocessing.get_context("fork"), run_files.write_atomically, []

    def joined_by_another(path, content):
        if not started:
            started.append(fork.Process(target=act))
            started[0].start()
            started[0].join(0.5)  # which waits for this one's lock
        write(path, content)

    monkeypatch.setattr(run_files, "write_atomically", joined_by_another)
    Store(folder).pack()
    started[0].join()
    assert started[0].exitcode == 0


def test_a_run_that_is_made_again_while_it_is_packed_is_kept(tmp_path, results, monkeypatch):
    new = again(results[0])
    meanwhile(monkeypatch, tmp_path, lambda: Store(tmp_path).write(new))
    assert read(tmp_path) == [new, *results[1:]]


@pytest.mark.parametrize("name", ["runs", "failed"])
def test_a_file_that_is_put_in_the_place_of_another_is_a_change(tmp_path, results, name):
    """Also if it has the time of that one, as with ``cp -p``."""
    Store(tmp_path).write(RunResult(spec=LATER, failure="made to fail"))
    before = Store(tmp_path).changed_at()
    path = next((tmp_path / name).glob("*.json"))
    facts = path.stat()
    path.write_bytes(path.read_bytes())
    times = facts.st_atime_ns, facts.st_mtime_ns
    os.utime(path, ns=times)
    while path.stat().st_ctime_ns == facts.st_ctime_ns:  # some systems count it by 4 ms
        os.utime(path, ns=times)
    assert path.stat().st_mtime_ns == facts.st_mtime_ns
    assert Store(tmp_path).changed_at() > before


def test_two_processes_that_pack_lose_no_new_run(tmp_path, monkeypatch):
    old, (new,) = written(tmp_path, made_up.results(GRID)[:3]), made_up.results(GRID)[3:4]

    def finish_and_pack():
        Store(tmp_path).write(new)
        Store(tmp_path).pack()

    meanwhile(monkeypatch, tmp_path, finish_and_pack)
    assert read(tmp_path) == [*old, new]
    assert single(tmp_path) == []


@pytest.mark.parametrize("look", [lambda kept: kept.finished(), lambda kept: kept.read(SPECS)])
@pytest.mark.parametrize("listed_before", [False, True])
def test_what_is_packed_while_it_is_read_is_found(
    tmp_path, results, monkeypatch, look, listed_before
):
    expected = look(Store(tmp_path))
    names_in, packed = run_files.names_in, []

    def packed_meanwhile(folder):
        before = names_in(folder)
        if folder.name == "runs" and not packed:
            packed.append(folder)
            Store(tmp_path).pack()
        return before if listed_before else names_in(folder)

    monkeypatch.setattr(run_files, "names_in", packed_meanwhile)
    assert look(Store(tmp_path)) == expected
    assert packed and single(tmp_path) == []


def test_a_file_of_several_lines_counts_but_stays_where_it_is(tmp_path, results):
    path = Store(tmp_path).path(FIRST)
    path.write_text(path.read_text().replace(',"measurements":', ',\n"measurements":'))
    Store(tmp_path).pack()
    assert single(tmp_path) == [path.name]
    assert read(tmp_path) == results


def test_a_file_under_the_name_of_another_run_is_not_packed(tmp_path, results):
    text = Store(tmp_path).path(SECOND).read_text()
    Store(tmp_path).path(FIRST).write_text(text)
    Store(tmp_path).pack()
    assert single(tmp_path) == [f"{FIRST.id}.json"]
    assert Store(tmp_path).read([SECOND]) == [results[1]]


def test_many_runs_are_listed_from_the_beginning_of_each_line_once(tmp_path, monkeypatch):
    specs = made_up.grid(n_algorithms=1, n_environments=1, seeds=10_000).runs()
    (tmp_path / "runs.jsonl").write_text(
        "".join(f'{{"spec":{spec.model_dump_json()},"measurements":"unread"}}\n' for spec in specs)
    )
    calls, id_of_line = [], store._id_of_line
    monkeypatch.setattr(store, "_id_of_line", lambda text: calls.append(1) or id_of_line(text))
    monkeypatch.setattr(Path, "read_text", None)  # no run's own file is opened
    kept, ids = Store(tmp_path), {spec.id for spec in specs}
    assert kept.finished() == ids
    kept.path(FIRST).parent.mkdir()
    kept.path(FIRST).touch()
    assert kept.finished() == {*ids, FIRST.id}
    assert kept.failed() == set()
    assert len(calls) == 10_000


def changed(spec):
    """Return a run of the same names and seed with other settings."""
    config = spec.config.model_copy(update={"params": {"gamma": 0.5}})
    return spec.model_copy(update={"config": config})


def test_a_changed_file_is_listed_again(tmp_path, results):
    kept = Store(tmp_path)
    written(tmp_path, results[:1])
    kept.pack()
    assert kept.has_finished(FIRST)
    Store(tmp_path).remove_replaced([changed(FIRST)])
    assert not kept.has_finished(FIRST)
    assert kept.has_finished(SECOND)


def test_what_new_runs_replace_is_removed(tmp_path, results):
    new = changed(FIRST)
    written(tmp_path, results)
    kept = Store(tmp_path)
    kept.write(RunResult(spec=new, failure="made to fail"))
    kept.remove_replaced([new])
    assert kept.finished() == {spec.id for spec in SPECS} - {FIRST.id}
    assert kept.failed() == set()


@pytest.mark.parametrize("change", [Store.pack, lambda store: store.remove_replaced([LATER])])
def test_what_cannot_be_read_is_not_replaced(change, tmp_path, results, monkeypatch):
    """As a file that a colleague has packed for themselves alone."""
    stored = Store(tmp_path)
    stored.pack()
    before = (tmp_path / "runs.jsonl").read_bytes()
    stored.write(again(results[0]))
    monkeypatch.setattr(run_files, "_unreadable", lambda path: "Permission denied")
    for act in (change, lambda store: store.check_free(SPECS)):
        with pytest.raises(UserError, match=r"runs.jsonl cannot be read \(Permission.*make"):
            act(stored)
    assert "make it readable" in stored.damage(SPECS)[0]
    assert (tmp_path / "runs.jsonl").read_bytes() == before
    assert single(tmp_path) == [f"{FIRST.id}.json"]


def test_results_of_a_newer_release_are_neither_damaged_nor_made_again(tmp_path, results):
    content = json.loads(text_of(results[0]))
    del content["digest"]
    content["resumed"] = [100]
    text = json.dumps(content)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = tmp_path / "runs" / f"{FIRST.id}.json"
    path.write_text(f'{text[:-1]},"digest":"{digest}"}}\n'.replace('{"spec": ', '{"spec":', 1))
    with pytest.raises(UserError, match=r"json: it was written by a newer sb3-course \(.*resumed"):
        Store(tmp_path).sound(SPECS)
    assert "update this one" in Store(tmp_path).damage(SPECS)[0]
    path.write_text(path.read_text().replace("resumed", "resumeD"))
    assert FIRST.id not in Store(tmp_path).sound(SPECS)  # damaged, as its digest says


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def unlocked(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_files.fcntl, "lockf", unlocked)
    with pytest.raises(UserError, match="cannot be locked"):
        written(tmp_path, made_up.results(GRID)[:1])


def test_an_id_is_computed_from_data_alone():
    for spec in SPECS:
        assert store._id_of_line(RunResult(spec=spec).model_dump_json()) == spec.id


def test_a_last_line_without_its_end_swallows_no_other_run(tmp_path):
    results = made_up.results(GRID)
    other = results[0].spec.model_copy(update={"algorithm": "0 is sorted first"})
    lines = [text_of(result) for result in results[1:]]
    lines.append(text_of(results[0].model_copy(update={"spec": other})).rstrip("\n"))
    (tmp_path / "runs.jsonl").write_text("".join(lines))
    store = Store(tmp_path)
    store.write(results[0])
    store.pack()
    assert read(tmp_path) == results
    assert store.read([other])[0].failure is None


@pytest.mark.parametrize("missing", [0, 1])
def test_a_grid_is_packed_where_it_is_published_once_all_runs_have_finished(
    tmp_path, monkeypatch, missing
):
    from sb3_course.benchmark.reporting import report

    results = made_up.results(GRID)
    written(tmp_path / GRID.name, results[missing:])
    if missing:
        Store(tmp_path / GRID.name).write(RunResult(spec=FIRST, failure="made to fail"))
    monkeypatch.setattr(report, "publish", lambda grid, kept: kept.folder / "report.html")
    api.write_report(json.loads(GRID.model_dump_json(by_alias=True)), results=tmp_path)
    assert (tmp_path / GRID.name / "runs.jsonl").exists() == (not missing)
    assert len(single(tmp_path / GRID.name)) == (len(SPECS) - 1 if missing else 0)
    assert read(tmp_path / GRID.name)[missing:] == results[missing:]


HIDDEN = [".hidden", "..", "-.x", ". .", ".NPG", "…"]


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("packed", [False, True])
def test_a_name_that_begins_with_a_dot_is_counted(tmp_path, name, packed):
    grid = made_up.grid(algorithms={name: {"class": "A2C"}}, seeds=1)
    results = written(tmp_path, made_up.results(grid))
    if packed:
        Store(tmp_path).pack()
    assert Store(tmp_path).read(grid.runs()) == results
    assert Store(tmp_path).finished() == {spec.id for spec in grid.runs()}
    Store(tmp_path).write(RunResult(spec=grid.runs()[0], failure="made to fail"))
    assert not any(path.name.startswith(".") for path in tmp_path.rglob("*.json"))


def test_the_longest_names_have_files(tmp_path):
    long = "E" * LONGEST_NAME
    grid = made_up.grid(
        name="g" * LONGEST_NAME,
        algorithms={"A" * 60: {"class": "A2C"}},
        environments={long: {"total_timesteps": 4}},
        seeds=[2**32 - 1],
    )
    results = written(tmp_path / grid.name, made_up.results(grid))
    failed = RunResult(spec=grid.runs()[0], failure="made to fail")
    Store(tmp_path / grid.name).write(failed)
    for suffix in (".progress", ".log"):
        (tmp_path / f".{grid.runs()[0].id}{suffix}").touch()
    write_zoo(results, tmp_path / grid.name / "zoo")
    assert Store(tmp_path / grid.name).read(grid.runs()) == results


@pytest.mark.parametrize("name", ["runs", "failed", ""])
def test_what_is_in_the_place_of_a_folder_is_named(tmp_path, name):
    folder = tmp_path / "grid"
    folder.mkdir()
    if not name:
        folder.rmdir()
    (folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"{folder / name} is no folder; move it away"):
        Store(folder).check_free([FIRST])


@pytest.mark.parametrize("name", ["", "grid", "deeper/grid"])
def test_a_link_to_nothing_is_named_at_once(tmp_path, name):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(
        UserError, match=f"{tmp_path / 'link'} is a link to gone, which is not there"
    ):
        Store(tmp_path / "link" / name)


@pytest.mark.parametrize("name", ["taken", "taken/deeper/grid"])
def test_what_is_in_the_place_of_a_folder_above_is_named(tmp_path, name):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(NotADirectoryError) as error:
        Store(tmp_path / name / "grid").check_free([FIRST])
    assert error.value.filename == str(tmp_path / name.partition("/")[0])


MULTILINE = 'raise ValueError("found invalid values:\\ntensor([[nan],\\n        [0.]])")'


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (MULTILINE, "ValueError: found invalid values: tensor([[nan], [0.]])"),
        (
            'raise RuntimeError("boom, with\\nseveral lines")',
            "RuntimeError: boom, with several lines",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("compile('a b', 'x.py', 'exec')", "SyntaxError: invalid syntax"),
    ],
)
def test_the_reason_of_a_failure_is_its_error(code, reason):
    try:
        try:
            raise KeyError("the first")
        except KeyError:
            exec(code)
    except Exception:
        failure = traceback.format_exc()
    assert RunResult(spec=FIRST, failure=failure).reason == reason
    died = f"Some output\n{failure}\nthe process ended with code 9"
    assert RunResult(spec=FIRST, failure=died).reason == "the process ended with code 9"
