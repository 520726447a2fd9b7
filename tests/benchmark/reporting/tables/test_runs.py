from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.reporting.tables import runs
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.storage.result import RunResult
from tests.benchmark import made_up


def test_runs_missing_for_the_same_reason_share_a_row():
    grid = made_up.grid()
    some = [r for r in made_up.results(grid) if r.spec.seed == 0]
    rows = runs.absent(analyze(grid, some)).rows
    assert ["NPG", "1, 2", "CartPole-v1, HalfCheetah-v4", "not run"] in rows
    assert len(rows) == 3


def test_differing_versions_are_listed_with_their_numbers_of_runs():
    specs = made_up.grid().runs()[:3]
    made_with = [{"torch": "2.1", "cpu": "A", "envpool": None}, {"torch": "2.2", "cpu": "A"}, None]
    results = [RunResult(spec=s, made_with=m) for s, m in zip(specs, made_with)]
    manifest = {"versions": {"torch": "2.1"}, "workers": 2, "commands": ["x"], "grid": {"a": 1}}
    assert runs.made_with(Record(results, manifest=manifest)).rows == [
        ["torch", "2.1 (1 run), 2.2 (1 run)"],
        ["cpu", "A"],
        ["workers", "2"],
    ]


def test_the_users_names_are_left_as_they_are():
    (spec, *_), facts = (
        made_up.grid().runs(),
        {
            "source of my_mod": "a",
            "registration of my_mod:Line_up-v0": "b",
            "git_commit": "c",
        },
    )
    made_with = runs.made_with(Record([RunResult(spec=spec, made_with=facts)], manifest={}))
    assert [name for name, _ in made_with.rows] == [
        "source of my_mod",
        "registration of my_mod:Line_up-v0",
        "git commit",
    ]


def test_training_time_has_the_rate_of_environment_steps():
    grid = made_up.grid(n_algorithms=1, n_environments=1, seeds=1)
    ((name, time),) = runs.training_time(analyze(grid, made_up.results(grid))).cells
    assert (name.text, time.text, time.note) == ("NPG", "10.0 s", "(100/s)")
