import optuna
import pytest

from sb3_course.benchmark.definition.search import Search, with_settings
from sb3_course.benchmark.tuning.space import (
    params_of,
    settings_of,
    settings_of_grid,
    suggest,
    values_along,
)
from tests.benchmark.helpers import HERE, PassesOn

optuna.logging.set_verbosity(optuna.logging.ERROR)


def ranges(**given):
    return Search(algorithms={"NPG": given}).algorithms["NPG"]


def suggestions(of, n=30):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for _ in range(n):
        trial = study.ask()
        suggest(trial, of)
        found.append(settings_of(trial.params, of))
        study.tell(trial, 0.0)
    return found


def test_suggestions_are_within_ranges_and_among_choices():
    of = ranges(
        target_kl={"low": 0.003, "high": 0.1, "log": True},
        n_steps={"low": 16, "high": 64},
        policy=["MlpPolicy", "CnnPolicy"],
        gamma=[0.9, 0.99, 0.999],
    )
    found = suggestions(of)
    assert all(0.003 <= each["target_kl"] <= 0.1 for each in found)
    assert all(isinstance(each["n_steps"], int) and 16 <= each["n_steps"] <= 64 for each in found)
    assert {each["policy"] for each in found} == {"MlpPolicy", "CnnPolicy"}
    assert {each["gamma"] for each in found} == {0.9, 0.99, 0.999}
    assert sum(each["target_kl"] < 0.0173 for each in found) in range(8, 23)  # half in the log


def test_numbers_have_few_digits_and_stay_within_their_range():
    of = ranges(gamma={"low": 0.900004, "high": 0.99})
    assert min(settings_of({"gamma": 0.900004}, of).values()) == 0.900004  # 0.9 is below
    assert all(len(str(each["gamma"])) <= 6 for each in suggestions(of))


@pytest.mark.parametrize(("low", "high"), [(0.9995, 0.9999), (0.900004, 0.900006), (100, 100.5)])
def test_a_narrow_range_has_many_values(low, high):
    of = ranges(learning_rate={"low": low, "high": high, "decay": [True, False]})
    found = {each["learning_rate"] for each in suggestions(of, 30)}
    assert len(found) > 24
    assert all(low <= float(str(each).removeprefix("lin_")) <= high for each in found)


def test_a_condition_decides_whether_a_parameter_is_set():
    of = ranges(
        line_search=[True, False],
        cg_damping={"low": 0.01, "high": 0.3, "when": {"line_search": True}},
    )
    found = suggestions(of)
    assert {each["line_search"] for each in found} == {True, False}
    assert all(("cg_damping" in each) == each["line_search"] for each in found)


def test_a_value_that_falls_is_written_as_grids_write_it():
    of = ranges(target_kl={"low": 0.01, "high": 0.1, "decay": [True, False]})
    found = [each["target_kl"] for each in suggestions(of)]
    falling = [value for value in found if isinstance(value, str)]
    assert 0 < len(falling) < len(found)
    assert all(0.01 <= float(value.removeprefix("lin_")) <= 0.1 for value in falling)
    always = suggestions(ranges(target_kl={"low": 0.01, "high": 0.1, "decay": True}), 3)
    assert all(each["target_kl"].startswith("lin_") for each in always)


def test_settings_replace_parts_of_policy_kwargs_alone():
    before = {"gamma": 0.9, "policy_kwargs": {"net_arch": [64]}}
    after = with_settings(before, {"policy_kwargs.log_std_init": -1.0, "gamma": 0.99})
    assert after == {"gamma": 0.99, "policy_kwargs": {"net_arch": [64], "log_std_init": -1.0}}
    assert before == {"gamma": 0.9, "policy_kwargs": {"net_arch": [64]}}
    for empty in ({}, {"policy_kwargs": None}):
        assert with_settings(empty, {"policy_kwargs.x": 1}) == {"policy_kwargs": {"x": 1}}


@pytest.mark.parametrize(
    ("params", "settings"),
    [
        ({"target_kl": "lin_0.05"}, {"target_kl": "lin_0.05", "line_search": False, "gamma": 0.99}),
        (
            {"target_kl": 0.05, "line_search": True, "cg_damping": 0.2, "gamma": 0.9},
            {"target_kl": 0.05, "line_search": True, "cg_damping": 0.2, "gamma": 0.9},
        ),
        ({"target_kl": 0.5}, None),
        ({"target_kl": None}, None),
        ({"target_kl": 0.05, "gamma": 0.5}, None),
    ],
)
def test_the_settings_of_a_grid_as_optuna_holds_them(params, settings):
    of = ranges(
        target_kl={"low": 0.01, "high": 0.1, "decay": [True, False]},
        line_search=[True, False],
        cg_damping={"low": 0.01, "high": 0.3, "when": {"line_search": True}},
        gamma=[0.9, 0.99],
    )
    found = params_of(settings_of_grid("NPG", params, of), of)
    assert (None if found is None else settings_of(found, of)) == settings


def test_a_constructor_that_passes_arguments_on_has_its_parents_defaults():
    of = ranges(gamma=[0.9, 0.99], extra=[1, 2])
    assert settings_of_grid(f"{HERE}:PassesOn", {}, of) == {"gamma": 0.99, "extra": 1}


def test_a_tuple_as_default_is_the_list_that_yaml_has(monkeypatch):
    monkeypatch.setitem(PassesOn.__init__.__kwdefaults__, "extra", (8,))
    of = ranges(extra=[[4], [8]])
    assert params_of(settings_of_grid(f"{HERE}:PassesOn", {}, of), of) == {"extra": 1}


def test_values_along_a_range_cover_it():
    of = ranges(a={"low": 0.01, "high": 1.0, "log": True}, b={"low": 1, "high": 3}, c=["x", "y"])
    assert values_along(of["a"], 3) == pytest.approx([0.01, 0.1, 1.0])
    assert values_along(of["b"], 9) == [1, 2, 3]
    assert values_along(of["c"], 9) == [0, 1]
