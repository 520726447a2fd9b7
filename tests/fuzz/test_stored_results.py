"""Whatever is in the place of stored files: a line for the user, and no other error."""

import io
import json
import math

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.heartbeat import heartbeats
from sb3_course.benchmark.execution.status import read_status, show
from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.reporting.tables.runs import made_with
from sb3_course.benchmark.storage.manifest import configuration, read_manifest
from sb3_course.benchmark.storage.result import RunResult, text_of
from sb3_course.benchmark.storage.returns_table import csv_of, tidy
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from tests.benchmark import made_up

GRID: Grid = made_up.grid(n_algorithms=1, n_environments=1)
SPECS = GRID.runs()
RESULTS = made_up.results(GRID)
TEXTS = [text_of(result) for result in RESULTS]
MANIFEST = {
    "grid": configuration(GRID),
    "commands": ["sb3-course run grid.yaml"],
    "git_commit": None,
    "versions": {"python": "3.11"},
    "machine": {"cpu": "x", "cpu_count": 2},
    "workers": 2,
    "duration_seconds": 1.5,
}

numbers = st.integers() | st.floats() | st.just(10**400)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=5)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)


@st.composite
def damaged(draw, text: str) -> bytes:
    """Bytes of a text that were changed in one way or another."""
    content = text.encode()
    way = draw(st.sampled_from(["flip", "cut", "remove", "retype", "json", "bytes", "nest"]))
    if way == "flip":
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    elif way == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    elif way == "json":
        content = json.dumps(draw(values)).encode()
    elif way == "bytes":
        content = draw(st.binary(max_size=200))
    elif way == "nest":
        content = draw(st.sampled_from([b"[", b'{"spec":', b'{"a":['])) * 50_000
    else:
        data = json.loads(text)
        parent, key = draw(st.sampled_from(list(places(data))))
        if way == "remove":
            del parent[key]
        else:
            parent[key] = draw(values)
        content = json.dumps(data, separators=(",", ":")).encode() + b"\n"
    return content


def places(data):
    """Every mapping or list in JSON data with each of its keys."""
    for key in list(data) if isinstance(data, dict) else range(len(data)):
        yield data, key
        if isinstance(data[key], dict | list):
            yield from places(data[key])


def whole(store: Store) -> list[RunResult]:
    """Check that whatever is read is exactly what was written, and return it."""
    found = [result for result in store.read(SPECS) if result.failure is None]
    for result in found:
        assert result.spec in SPECS
        assert [m.step for m in result.measurements] == result.spec.config.evaluation_steps
        assert all(map(math.isfinite, result.measurements[-1].returns))
    lines = store.damage(SPECS)
    assert all("is damaged (" in line and "\n" not in line for line in lines)
    todo = runner.to_do(SPECS, store)
    assert {s.id for s in todo} == {s.id for s in SPECS} - {r.spec.id for r in found}
    csv_of(tidy(store.read(SPECS)))
    stream = io.StringIO()
    show(read_status(SPECS, store.folder), Console(file=stream, width=200))
    return found


@given(content=damaged(TEXTS[0]), kind=st.sampled_from(["runs", "failed"]))
def test_a_runs_own_file(tmp_path_factory, content, kind):
    store = Store(tmp_path_factory.mktemp("grid"))
    for result in RESULTS[1:]:
        store.write(result)
    path = store.path(SPECS[0]) if kind == "runs" else store.failure_path(SPECS[0])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    found = whole(store)
    assert [result for result in found if result.spec != SPECS[0]] == RESULTS[1:]
    store.check_free(SPECS)
    store.pack()
    store.write(RESULTS[0])
    assert whole(store) == RESULTS


@given(content=damaged(TEXTS[0]), last=st.booleans())
def test_a_line_of_the_file_of_all(tmp_path_factory, content, last):
    store = Store(tmp_path_factory.mktemp("grid"))
    others = [text.encode() for text in TEXTS[1:]]
    path = store.folder / "runs.jsonl"
    ended = content if last else content.rstrip(b"\n") + b"\n"
    path.write_bytes(b"".join([*others, ended] if last else [ended, *others]))
    found = whole(store)
    assert [result for result in found if result.spec != SPECS[0]] == RESULTS[1:]
    for result in RESULTS:
        store.write(result)
    store.pack()
    assert whole(store) == RESULTS


@given(content=damaged(json.dumps(MANIFEST)))
def test_the_manifest(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("grid")
    (folder / "manifest.json").write_bytes(content)
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        assert "delete it, and no result is lost" in str(error)
        assert "\n" not in str(error)
    else:
        made_with(Record(RESULTS, manifest=manifest or {}))
        assert all(isinstance(command, str) for command in manifest.get("commands", []))


@given(content=damaged('{"steps": 100, "rate": 12.5}'))
def test_a_heartbeat(tmp_path_factory, content):
    store = Store(tmp_path_factory.mktemp("grid"))
    (store.folder / "logs").mkdir()
    (store.folder / "logs" / f"{SPECS[0].id}.progress").write_bytes(content)
    for _, heartbeat in heartbeats(store.folder / "logs"):
        assert 0 <= heartbeat.steps < 2**63
        assert 0 <= heartbeat.rate < 2**63
    assert whole(store) == []
