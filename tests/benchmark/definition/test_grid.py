import hashlib
import itertools
import json
import textwrap
from datetime import date
from pathlib import Path

import pytest
import yaml

from sb3_course.benchmark.definition import grid
from sb3_course.benchmark.definition.grid import (
    Evaluation,
    Grid,
    RunSpec,
    id_of,
    load_grid,
    parse,
)
from sb3_course.benchmark.definition.yaml_source import GridError
from sb3_course.benchmark.storage.manifest import configuration
from sb3_course.benchmark.storage.result import RunResult, parsed, text_of
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.yaml_values import read_yaml
from sb3_course.envs.config import EnvConfig
from tests.benchmark.helpers import GRIDS, changed, content, tiny

CARTPOLE = {"total_timesteps": 200}
ROOT = Path(__file__).parents[3]
BENCHMARKS, RESULTS = ROOT / "benchmarks", ROOT / "results"
WITH_SEARCHES = [*GRIDS, *sorted((BENCHMARKS / "tuning").glob("*.yaml"))]


def reported(**changes) -> dict[str, str]:
    mistakes = parse(content(**changes))
    assert isinstance(mistakes, list)
    return {".".join(map(str, mistake.key)): mistake.message for mistake in mistakes}


def of_cartpole(**settings) -> dict:
    return {"environments": {"CartPole-v1": {**CARTPOLE, **settings}}}


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"sedes": 3}, "sedes", ["unknown key 'sedes'; did you mean 'seeds'", "allowed: algor"]),
        ({"seeds": [0, 0]}, "seeds", ["given [0, 0]", "distinct"]),
        (
            {"seeds": -1},
            "seeds",
            ["given -1", "allowed: a list of distinct seeds, or their number"],
        ),
        ({"seeds": True}, "seeds", ["given True", "allowed: a list"]),
        ({"seeds": 10**9}, "seeds", ["given 1000000000", "allowed: a list"]),
        ({"seeds": 10_001}, "seeds", ["given 10001", "up to 10,000"]),
        (
            {"evaluation": {"n_points": 1e9}},
            "",
            ["evaluations in all runs; allowed: up to 300,000"],
        ),
        (
            {**of_cartpole(total_timesteps=10**9), "evaluation": {"every": 1}},
            "",
            ["000,000,000 evaluations in all runs"],
        ),
        (of_cartpole(n_envs=10**9), "environments.CartPole-v1.n_envs", ["allowed: up to 10000"]),
        (
            {"environments": {f"E{i}": CARTPOLE for i in range(9)}, "seeds": 9_000},
            "",
            ["runs; allowed: up to 20,000"],
        ),
        ({"name": "a" * 121}, "name", ["given 'aaa"]),
        ({"seeds": [1, -2]}, "seeds.1", ["given -2", "allowed: 0 or more"]),
        ({"name": "../up"}, "name", ["given '../up'"]),
        ({"evaluation": {"episodes": 3}}, "evaluation", ["exactly one of: every, n_points"]),
        ({"environments": {}}, "environments", ["at least 1"]),
        ({"environments": {"CartPole-v1": {}}}, "environments.CartPole-v1.total_timesteps", ["is"]),
        (
            of_cartpole(total_timesteps=0),
            "environments.CartPole-v1.total_timesteps",
            ["given 0", "allowed: above 0"],
        ),
        (
            of_cartpole(backend="envpol"),
            "environments.CartPole-v1.backend",
            ["given 'envpol'", "'envpool'"],
        ),
        (
            of_cartpole(normalize="yes please"),
            "environments.CartPole-v1.normalize",
            ["given 'yes please'", "true, false"],
        ),
        (
            of_cartpole(evaluation={"episode": 3}),
            "environments.CartPole-v1.evaluation.episode",
            ["unknown key 'episode'; did you mean 'episodes'"],
        ),
        (
            {"algorithms": {"a": {"class": "A2C", "environments": {"CartPole-v1": {"parms": {}}}}}},
            "algorithms.a.environments.CartPole-v1.parms",
            ["did you mean 'params'", "allowed: n_envs, normalize, params"],
        ),
        ({"questions": {"Better?": ["A2C", "A3C"]}}, "questions.Better?", ["mean 'A2C'"]),
        (
            {"questions": {"Better?": ["A2C", "A2C"]}},
            "questions.Better?",
            ["two different algorithms"],
        ),
        (
            {
                "algorithms": {"A": {"class": "A2C"}, "B": {"class": "A2C"}},
                "questions": {"Bet\nter?": ["A", "B"]},
            },
            "questions.Bet\nter?",
            ["printable characters in one line"],
        ),
        ({"questions": {"Better?": ["A2C"]}}, "questions.Better?.1", ["is missing"]),
    ],
)
def test_a_mistake_in_the_schema_is_reported_with_its_key_and_what_is_allowed(
    changes, key, expected
):
    mistakes = reported(**changes)
    assert mistakes.keys() == {key}
    for part in expected:
        assert part in mistakes[key]


def test_every_question_with_a_mistake_is_reported():
    questions = {"Better?": ["A2C", "A3C"], "Worse?": ["B2C", "A2C"]}
    assert reported(questions=questions).keys() == {"questions.Better?", "questions.Worse?"}


def test_every_mistake_in_the_schema_is_reported():
    environments = {"CartPole-v1": {"n_envs": 0, "back": 1, "nenvs": 2}}
    assert reported(sedes=3, name="", environments=environments, algorithms={"a": {}}).keys() == {
        "sedes",
        "name",
        "environments.CartPole-v1.total_timesteps",
        "environments.CartPole-v1.n_envs",
        "environments.CartPole-v1.back",
        "environments.CartPole-v1.nenvs",
        "algorithms.a.class",
    }


def test_errors_of_loading_name_file_and_line(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("# a comment\n" + yaml.safe_dump(content(), sort_keys=False) + "sedes: 3\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(GridError, match=rf"^{path}:{line}: sedes: unknown key 'sedes'"):
        load_grid(path)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_our_own_grids_load(path):
    assert load_grid(path).name == path.stem


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("classic", "a2c_acrobot-v1_seed0_b1f9bf99aeaa"),
        ("mujoco", "a2c_ant-v4_seed0_90a333ce60b1"),
    ],
)
def test_stored_results_keep_their_names(name, known):
    ids = {spec.id for spec in load_grid(BENCHMARKS / f"{name}.yaml").runs()}
    assert known in Store(RESULTS / name).finished() <= ids


@pytest.mark.parametrize(
    ("name", "n", "digest"),
    [
        ("classic", 480, "8f0001b486c46888"),
        ("demo", 36, "3f7c78e89862ef5f"),
        ("mujoco", 520, "2be77a8eae93403d"),
    ],
)
def test_runs_without_new_settings_keep_their_ids(name, n, digest):
    """The ids of our own grids are those of before environments had settings."""
    ids = [spec.id for spec in load_grid(BENCHMARKS / f"{name}.yaml").runs()]
    assert len(ids) == n
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("path", WITH_SEARCHES, ids=lambda path: path.stem)
def test_stored_runs_are_of_their_grid(path):
    """All but seeds that a sequential test has added."""
    grid = load_grid(path)
    ids = {spec.id for spec in grid.runs()}
    by_seed = {id.rpartition("_")[0] for id in ids}
    by_cell = {name.rpartition("_seed")[0] for name in by_seed}
    others = Store(RESULTS / grid.name).finished() - ids
    assert not {id for id in others if id.rpartition("_")[0] in by_seed}
    assert {id.rpartition("_seed")[0] for id in others} <= by_cell


@pytest.mark.parametrize("name", ["natural_gradient", "natural_gradient_ppo"])
def test_the_grid_of_one_question_has_the_settings_of_classic_control(name):
    ids = {spec.id for spec in load_grid(BENCHMARKS / f"{name}.yaml").runs()}
    assert ids <= {spec.id for spec in load_grid(BENCHMARKS / "classic.yaml").runs()}


def test_the_grid_of_newer_tasks_has_the_settings_of_the_older():
    def settings(name):
        runs = load_grid(BENCHMARKS / f"{name}.yaml").runs()
        return {(run.algorithm, run.environment[:-1]): run.config for run in runs}

    newer, older = settings("mujoco_v5"), settings("mujoco")
    common = newer.keys() & older.keys()
    assert len(common) == 6 * 4
    assert {key: newer[key] for key in common} == {key: older[key] for key in common}


@pytest.mark.parametrize("name", ["classic", "regression_mujoco"])
def test_stored_lines_are_read_and_written_as_they_are(name):
    """With a digest, and as former releases wrote them, without one."""
    with (RESULTS / name / "runs.jsonl").open() as file:
        for line in itertools.islice(file, 40):
            result = parsed(line)
            if '"digest"' in line:
                assert json.loads(text_of(result)) == json.loads(line)
            else:
                former = RunResult.model_validate_json(line, strict=True)
                assert former.model_dump_json(exclude_unset=True) + "\n" == line
                assert former == result
            assert result.spec.id == id_of(json.loads(line)["spec"])
            assert result.spec.env == EnvConfig(result.spec.environment)


def test_the_documented_example_is_a_grid():
    _, _, example = grid.__doc__.partition("yaml\n")
    example = read_yaml(textwrap.dedent(example.partition("An environment with")[0]))
    assert example.pop("include") == "tuned.yaml"
    assert isinstance(parse(example), grid.Grid)


def test_evaluation_steps_hold_both_ends():
    assert Evaluation(n_points=4).steps(1000) == [0, 250, 500, 750, 1000]
    assert Evaluation(every=400).steps(1000) == [0, 400, 800, 1000]
    assert Evaluation(every=500).steps(1000) == [0, 500, 1000]


def test_overrides_go_over_the_environments_settings():
    override = {"params": {"gamma": 0.5}, "n_envs": 3, "normalize": True}
    overridden = tiny(
        algorithms={
            "A": {
                "class": "A2C",
                "params": {"gamma": 0.9, "n_steps": 8},
                "environments": {"CartPole-v1": override},
            }
        }
    )
    config = overridden.config("A", "CartPole-v1")
    assert config.params == {"gamma": 0.5, "n_steps": 8}
    assert (config.n_envs, config.normalize) == (3, True)


def test_a_runs_identity_is_stable_and_changes_with_all_that_matters():
    spec = tiny().runs()[0]
    assert spec.id == tiny().runs()[0].id
    # Results on disk are found by this name: it must not drift between releases by accident.
    assert spec.id == "a2c_cartpole-v1_seed0_5b056fd440b8"
    others = [
        tiny().runs()[1],
        changed(spec, params={"gamma": 0.9}),
        changed(spec, n_envs=3),
        changed(spec, normalize=True),
        changed(spec, total_timesteps=300),
        changed(spec, evaluation_steps=[0, 200]),
        spec.model_copy(update={"algorithm": "A2C, again"}),
    ]
    assert len({spec.id, *(other.id for other in others)}) == 8


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "\ud800", "x" * 61])
def test_names_can_be_printed(name):
    with pytest.raises(ValueError, match="1 to 60 printable characters"):
        Grid.model_validate(content(algorithms={name: {"class": "A2C"}}))


def test_seeds_fit_into_32_bits():
    with pytest.raises(ValueError, match="allowed: up to 4294967295"):
        Grid.model_validate(content(seeds=[2**32]))


ANT = {
    "total_timesteps": 100,
    "id": "Ant-v4",
    "kwargs": {"use_contact_forces": True},
    "wrappers": [{"RescaleAction": {"min_action": -1, "max_action": 1}}, "my_module:MyWrapper"],
    "frame_stack": 4,
    "time_limit": 500,
}


def test_a_name_stands_for_an_environment_with_settings():
    spec = tiny(environments={"Ant with contacts": ANT}).runs()[0]
    assert spec.environment == "Ant with contacts"
    assert spec.env == EnvConfig(
        "Ant-v4", ANT["kwargs"], tuple(ANT["wrappers"]), frame_stack=4, time_limit=500
    )
    assert spec.id.startswith("a2c_ant-with-contacts_seed0_")
    again = RunSpec.model_validate_json(spec.model_dump_json(), strict=True)
    assert again == spec
    assert again.id == spec.id == id_of(json.loads(spec.model_dump_json()))


@pytest.mark.parametrize("left_out", [{key} for key in ANT.keys() - {"total_timesteps"}])
def test_every_setting_of_an_environment_makes_another_run(left_out):
    rest = {key: value for key, value in ANT.items() if key not in left_out}
    one, other = (tiny(environments={"Ant": a}).runs()[0].id for a in (ANT, rest))
    assert one != other


def test_settings_that_say_nothing_make_no_other_run():
    plain = {"total_timesteps": 100}
    said = {"id": "Ant-v4", "kwargs": {}, "wrappers": [], "frame_stack": None}
    one, other = (tiny(environments={"Ant-v4": a}).runs()[0] for a in (plain, {**plain, **said}))
    assert one == other
    assert one.id == other.id


def test_a_manifest_holds_settings_only_where_there_are_any():
    plain = configuration(tiny())
    assert plain["evaluation"].keys() == {"every", "n_points", "episodes"}
    before = {"total_timesteps", "n_envs", "backend", "normalize", "evaluation"}
    assert plain["environments"]["CartPole-v1"].keys() == before
    data = configuration(tiny(environments={"Ant": ANT}))["environments"]["Ant"]
    assert {key: data[key] for key in ANT} == ANT


def test_metrics_belong_to_the_run():
    evaluation = {"every": 100, "metrics": ["x"]}
    assert tiny(evaluation=evaluation).runs()[0].config.metrics == ["x"]
    own = {"Ant-v4": {"total_timesteps": 100, "evaluation": {"every": 50, "metrics": ["y"]}}}
    assert tiny(evaluation=evaluation, environments=own).runs()[0].config.metrics == ["y"]


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({"env_wrapper": "a:B"}, "env_wrapper", "RL Zoo's env_wrapper is wrappers here"),
        ({"env_kwargs": {}}, "env_kwargs", "RL Zoo's env_kwargs is kwargs here"),
        ({"kwargs": {"max_episode_steps": 3}}, "kwargs", "write time_limit, beside kwargs"),
        ({"kwargs": {"render_mode": "human"}}, "kwargs", "runs render nothing"),
        ({"kwargs": [1]}, "kwargs", "allowed: keys with their values"),
        ({"wrappers": ["a:B", {"a:B": 1}]}, "wrappers.1", "allowed: module:Class"),
        ({"wrappers": [3]}, "wrappers.0", "given 3; allowed: module:Class"),
        ({"wrappers": 3}, "wrappers", "allowed: a list"),
        ({"wrappers": [{"a:B": {"c": date(2026, 1, 1)}}]}, "wrappers.0.dict.a:B.dict.c", "JSON"),
        ({"kwargs": {"c": date(2026, 1, 1)}}, "kwargs.c", "JSON"),
        ({"frame_stack": 0}, "frame_stack", "allowed: 1 or more"),
        ({"time_limit": 0}, "time_limit", "allowed: 1 or more"),
        ({"id": 3}, "id", "allowed: text"),
        (
            {"evaluation": {"every": 9, "metrics": ["x", "x"]}},
            "evaluation.metrics",
            "x is listed tw",
        ),
        ({"evaluation": {"every": 9, "metrics": [""]}}, "evaluation.metrics", "printable"),
    ],
)
def test_mistakes_in_an_environments_settings_are_reported(settings, key, expected):
    found = reported(environments={"Ant": {"total_timesteps": 1, "id": "Ant-v4", **settings}})
    assert found.keys() == {f"environments.Ant.{key}"}
    assert expected in found[f"environments.Ant.{key}"]


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_names_of_environments_are_printable(name):
    (message,) = reported(environments={name: {"total_timesteps": 1, "id": "Ant-v4"}}).values()
    assert "printable" in message


def test_trackers_change_no_run():
    plain = tiny()
    assert "track" not in configuration(plain)
    for given, kept in (("wandb", ["wandb"]), (["mlflow", "wandb", "mlflow"], ["mlflow", "wandb"])):
        tracked = tiny(track=given)
        assert tracked.track == kept and configuration(tracked)["track"] == kept
        assert [spec.id for spec in tracked.runs()] == [spec.id for spec in plain.runs()]


def test_an_unknown_tracker_is_a_mistake():
    assert "did you mean 'wandb'" in reported(track=["wanbd"])["track"]


@pytest.mark.parametrize(
    ("key", "given", "allowed"),
    [
        ("name", 3, "text"),
        ("seeds", [], "at least 1"),
        ("evaluation", [1], "keys with their values"),
        ("environments", 3, "keys with their values"),
        ("search.shared", "maybe", "true or false"),
        ("search.trials", 0, "1 or more"),
        ("search.first_look", 0.0, "above 0.0"),
        ("search.first_look", 1.5, "up to 1.0"),
        ("search.objective", "last", "'final', 'mean' or 'best'"),
    ],
)
def test_what_is_allowed_is_said_in_plain_words(key, given, allowed):
    head, _, inner = key.partition(".")
    search = {"algorithms": {"NPG": {"target_kl": [0.01, 0.1]}}}
    data = content(algorithms={"NPG": {"class": "NPG"}}, search=search)
    data |= {head: search | {inner: given} if inner else given}
    mistakes = parse(data)
    assert f"given {given!r}; allowed: {allowed}" in [str(mistake.message) for mistake in mistakes]
