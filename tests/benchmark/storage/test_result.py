"""Results that are not as they were written: listed, in no statistic, and made again."""

import json
import os
import re

import pytest

from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import tidy
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark import made_up
from tests.benchmark.made_up import lines, read, single, written

GRID = made_up.grid()
SPECS = GRID.runs()
FIRST, SECOND = SPECS[:2]


def damaged(folder) -> list:
    """The runs whose results are damaged; a line names each, and no statistic has it."""
    found = read(folder)
    runs = [r.spec for r in found if r.failure is not None]
    assert [r.reason for r in found if r.failure is not None] == Store(folder).damage(SPECS)
    assert all("is damaged (" in r.reason for r in found if r.spec in runs)
    assert Store(folder).sound(SPECS) == {s.id for s in SPECS} - {s.id for s in runs}
    assert [s for s in SPECS if not Store(folder).has_finished(s)] == runs
    return runs


def swap(folder):
    """Another run's result under this name."""
    one, two = Store(folder).path(FIRST), Store(folder).path(SECOND)
    one.write_bytes(two.read_bytes())


def edited(change, digest=False):
    """Change the content of a result, with or without a digest of the new one."""

    def act(folder):
        path = Store(folder).path(FIRST)
        content = json.loads(path.read_text())
        del content["digest"]
        old = path.read_text()
        change(content)
        path.write_text(json.dumps(content) + "\n")
        if digest:
            digest_ = json.loads(old)["digest"]
            path.write_text(json.dumps({**content, "digest": digest_}) + "\n")

    return act


def replaced(make):
    def act(folder):
        path = Store(folder).path(FIRST)
        path.unlink()
        make(path)

    return act


WAYS = {
    "another run's": swap,
    "no evaluation": edited(lambda c: c["measurements"].clear()),
    "an evaluation less": edited(lambda c: c["measurements"].pop()),
    "one twice": edited(lambda c: c["measurements"].append(c["measurements"][-1])),
    "another step": edited(lambda c: c["measurements"][1].update(step=251)),
    "an episode less": edited(lambda c: c["measurements"][1]["returns"].pop()),
    "a length less": edited(lambda c: c["measurements"][1]["lengths"].pop()),
    "an episode more": edited(lambda c: c["measurements"][1]["returns"].append(1.0)),
    "another seed": edited(lambda c: c["spec"].update(seed=1)),
    "another setting": edited(lambda c: c["spec"]["config"].update(n_envs=2)),
    "a failure": edited(lambda c: c.update(failure="ValueError")),
    "text for a number": edited(lambda c: c.update(seconds="1.0")),
    "a long number": edited(lambda c: c["measurements"][0].update(num_timesteps=2**63)),
    "a negative one": edited(lambda c: c["measurements"][0]["lengths"].__setitem__(0, -1)),
    "infinite seconds": edited(lambda c: c.update(seconds=float("inf"))),
    "an unknown key": edited(lambda c: c.update(digesu="")),
    "a digit": edited(lambda c: c["measurements"][0]["returns"].__setitem__(0, 7.0), digest=True),
    "another commit": edited(lambda c: c.update(made_with={"git_commit": "x"}), digest=True),
    "a digest of another type": edited(lambda c: c.update(digest=1)),
    "no UTF-8": replaced(lambda path: path.write_bytes(b"\xff\xfe")),
    "UTF-16": replaced(lambda path: path.write_text("{}", "utf-16")),
    "nothing": replaced(lambda path: path.touch()),
    "a FIFO": replaced(os.mkfifo),
    "a folder": replaced(os.mkdir),
    "a loop": replaced(lambda path: path.symlink_to(path)),
    "a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "nested": replaced(lambda path: path.write_text('{"spec":' + "[" * 100_000)),
    "no mapping": replaced(lambda path: path.write_text("[]")),
}


@pytest.mark.parametrize("damage", WAYS.values(), ids=WAYS)
def test_a_damaged_result_is_listed_counts_nowhere_and_is_made_again(tmp_path, results, damage):
    damage(tmp_path)
    assert damaged(tmp_path) == [FIRST]
    assert f"{Store(tmp_path).path(FIRST)} is damaged (" in Store(tmp_path).damage(SPECS)[0]
    assert runner.to_do(SPECS, Store(tmp_path)) == [FIRST]
    assert FIRST.seed not in set(
        tidy(read(tmp_path))
        .query("algorithm == 'NPG'")
        .query("environment == @FIRST.environment")["seed"]
    )
    if Store(tmp_path).path(FIRST).is_dir():
        with pytest.raises(UserError, match="is a folder; move it away"):
            Store(tmp_path).check_free([FIRST])
        return
    Store(tmp_path).check_free([FIRST])
    written(tmp_path, results[:1])
    assert damaged(tmp_path) == []
    assert read(tmp_path) == results


@pytest.mark.parametrize("damage", list(WAYS.values())[1:19], ids=list(WAYS)[1:19])
def test_a_damaged_line_is_listed_counts_nowhere_and_is_made_again(tmp_path, results, damage):
    damage(tmp_path)
    text = Store(tmp_path).path(FIRST).read_text()
    written(tmp_path, results[:1])
    Store(tmp_path).pack()
    path = tmp_path / "runs.jsonl"
    compact = json.dumps(json.loads(text), separators=(",", ":")) + "\n"
    number = sorted(spec.id for spec in SPECS).index(FIRST.id)
    content = lines(tmp_path)
    content[number] = compact
    path.write_text("".join(content))
    assert runner.to_do(SPECS, Store(tmp_path)) == [FIRST]
    found = Store(tmp_path).damage(SPECS)
    renamed = json.loads(text)["spec"] != json.loads(FIRST.model_dump_json())
    assert [f"line {number + 1} of {path} is damaged" in line for line in found] == (
        [] if renamed else [True]  # it is the whole result of a run of another grid
    )
    written(tmp_path, results[:1])
    Store(tmp_path).pack()
    assert read(tmp_path) == results


def test_a_changed_line_of_no_known_run_is_listed_too(tmp_path, results):
    Store(tmp_path).pack()
    content = lines(tmp_path)
    content[0] = content[0].replace('"seed":0', '"seed":7', 1)
    (tmp_path / "runs.jsonl").write_text("".join(content))
    (line,) = Store(tmp_path).damage(SPECS)
    assert line.startswith(f"line 1 of {tmp_path / 'runs.jsonl'} is damaged (it is not what its")
    assert line.endswith("; delete the line, or the file, if it is no run's")


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b"\0" * 99),
    ],
)
def test_whatever_is_in_the_place_of_all_lines_is_listed(tmp_path, make):
    path = tmp_path / "runs.jsonl"
    make(path)
    kept = Store(tmp_path)
    assert kept.finished() == set()
    assert kept.read(SPECS) == []
    for _ in range(2):
        (line,) = kept.damage(SPECS)
        assert str(path) in line and ("is damaged (" in line or "cannot be read (" in line)


def test_results_of_earlier_versions_have_no_digest_and_are_read(tmp_path, results):
    for result in results:
        Store(tmp_path).path(result.spec).write_text(result.model_dump_json() + "\n")
    assert read(tmp_path) == results
    Store(tmp_path).pack()
    assert read(tmp_path) == results
    assert "digest" not in (tmp_path / "runs.jsonl").read_text()


def test_a_digest_is_of_the_content_not_of_its_layout(tmp_path, results):
    path = Store(tmp_path).path(FIRST)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert read(tmp_path) == results


def test_an_infinite_setting_is_read_back(tmp_path):
    normalize = {"clip_obs": float("inf")}
    environments = {"CartPole-v1": {"total_timesteps": 4, "normalize": normalize}}
    grid = made_up.grid(environments=environments, seeds=1)
    results = written(tmp_path, made_up.results(grid))
    assert Store(tmp_path).read(grid.runs()) == results
    Store(tmp_path).pack()
    assert Store(tmp_path).sound(grid.runs()) == {spec.id for spec in grid.runs()}


def test_a_damaged_result_is_hidden_by_how_the_run_failed_since(tmp_path, results):
    Store(tmp_path).path(FIRST).write_text("damaged")
    Store(tmp_path).write(RunResult(spec=FIRST, failure="made to fail"))
    assert [r.reason for r in read(tmp_path) if r.failure is not None] == ["made to fail"]
    Store(tmp_path).failure_path(FIRST).write_text("damaged")
    (reason,) = [r.reason for r in read(tmp_path) if r.failure is not None]
    assert str(Store(tmp_path).failure_path(FIRST)) in reason
    assert len(Store(tmp_path).damage(SPECS)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:40].rstrip() + b"\n",
        lambda line: line[:-300] + b"\n",
        lambda line: b"\n",
        lambda line: b"<<<<<<< HEAD\n",
        lambda line: line[:10] + b"\xff" + line[11:],
        lambda line: b'{"spec":[]}\n',
    ],
)
def test_a_damaged_line_is_named_with_its_file(tmp_path, results, damage):
    Store(tmp_path).pack()
    path = tmp_path / "runs.jsonl"
    before = path.read_bytes().splitlines(keepends=True)
    before[1] = damage(before[1])
    path.write_bytes(b"".join(before))
    kept, lost = Store(tmp_path), sorted(SPECS, key=lambda spec: spec.id)[1]
    assert kept.sound(SPECS) == {spec.id for spec in SPECS} - {lost.id}
    (line,) = kept.damage(SPECS)
    assert re.match(rf"line 2 of {path} is damaged .*`sb3-course run` makes the run again", line)
    written(tmp_path, [r for r in results if r.spec == lost])
    assert Store(tmp_path).read(SPECS) == results
    Store(tmp_path).pack()
    assert Store(tmp_path).damage(SPECS) == []
    assert Store(tmp_path).read(SPECS) == results


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "null"])
def test_a_stored_return_that_is_not_finite_is_damaged(tmp_path, results, number):
    path = Store(tmp_path).path(FIRST)
    stored = json.loads(path.read_text())
    del stored["digest"]
    stored["measurements"][0]["returns"][0] = "HERE"
    path.write_text(json.dumps(stored).replace('"HERE"', number) + "\n")
    assert damaged(tmp_path) == [FIRST]
    assert f"{path} is damaged (measurements.0.returns.0: " in read(tmp_path)[0].reason


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text[:-9] + "\n", lambda text: text * 2]
)
def test_a_damaged_file_is_named_and_stays_where_it_is(tmp_path, results, damage):
    path = Store(tmp_path).path(FIRST)
    path.write_text(damage(path.read_text()))
    assert damaged(tmp_path) == [FIRST]
    assert str(path) in Store(tmp_path).damage(SPECS)[0]
    Store(tmp_path).pack()
    assert single(tmp_path) == [path.name]
    assert Store(tmp_path).read(SPECS[1:]) == results[1:]
