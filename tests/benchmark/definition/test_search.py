import pytest

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.storage.manifest import configuration
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import content

KL = {"low": 0.01, "high": 0.1, "log": True}


def grid(ranges=None, **search):
    search = {"algorithms": {"NPG": ranges or {"target_kl": KL}}, **search}
    return content(algorithms={"NPG": {"class": "NPG"}}, search=search)


@pytest.mark.parametrize(
    ("ranges", "key", "message"),
    [
        ({"target_k": KL}, "target_k", "did you mean 'target_kl'?"),
        ({"target_kl": {"low": 0.1, "high": 0.01}}, "target_kl", "low below high"),
        ({"target_kl": {"low": 0, "high": 0.1, "log": True}}, "target_kl", "a low above 0"),
        ({"target_kl": {"low": -1, "high": 1.5, "log": True}}, "target_kl", "a low above 0"),
        ({"target_kl": {"low": 0.1}}, "target_kl", "both low and high"),
        ({"target_kl": {"low": "a", "high": 1}}, "target_kl.low", "allowed: a number"),
        ({"target_kl": {"low": 0.1, "high": float("inf")}}, "target_kl.high", "a number"),
        ({"target_kl": {"low": 0.1, "high": 1e300}}, "target_kl.high", "up to 1e+12"),
        ({"target_kl": list(range(101))}, "target_kl.values", "at most 100"),
        ({"target_kl": {**KL, "lgo": True}}, "target_kl.lgo", "unknown key 'lgo'"),
        ({"target_kl": 0.1}, "target_kl", "or a list of values"),
        ({"target_kl": [0.1]}, "target_kl", "one choice only; a fixed value belongs in"),
        ({"target_kl": [0.1, 0.1]}, "target_kl", "listed twice"),
        (
            {"target_kl": {**KL, "decay": [True, True]}},
            "target_kl.decay",
            "allowed: true, false, or",
        ),
        ({"target_kl": {**KL, "decay": [True]}}, "target_kl.decay", "[true, false] for both"),
        ({"target_kl": []}, "target_kl", "an empty list; allowed: at least 2 choices"),
        ({"line_search": {"low": 0, "high": 1}}, "line_search", "[false, true] for a switch"),
        (
            {"policy_kwargs.net_arch.pi": [[8], [16]]},
            "policy_kwargs.net_arch.pi",
            "allowed: one dot, as in policy_kwargs.net_arch: [{pi: …}, {pi: …}]",
        ),
        ({"target_kl": {**KL, "decay": [False, False]}}, "target_kl.decay", "[true, false]"),
        ({"n_steps": {"low": 1.5, "high": 8}}, "n_steps", "low 1.5: n_steps of NPG takes whole"),
        ({"n_steps": {"low": 1, "high": 8.0}}, "n_steps", "high 8.0: n_steps of NPG takes whole"),
        ({"n_steps": {"values": [8, 16.5]}}, "n_steps", "given 16.5; n_steps of NPG takes whole"),
        ({"n_steps": [8, 16.5]}, "n_steps", "given 16.5; n_steps of NPG takes whole"),
        ({"gae_lambda": {"low": 0, "high": 1}}, "gae_lambda", "or 0.0 and 1.0"),
        ({"n_steps": {"low": 8, "high": 64, "decay": True}}, "n_steps", "do not fall to 0"),
        ({"policy_kwargs": {"x": KL}}, "policy_kwargs", "policy_kwargs.KEY"),
        ({"policy_kwargs": [{}, {"x": 1}]}, "policy_kwargs", "keys are searched one by one"),
        ({"stats_window_size": [10, 100]}, "stats_window_size", "and no return"),
        ({"gamma.x": KL}, "gamma.x", "policy_kwargs.KEY"),
        ({"seed": [1, 2]}, "seed", "unknown hyper-parameter"),
        ({"target_kl": {**KL, "when": {"gamma": [1]}}}, "algorithms", "list of choices above it"),
        (
            {"line_search": [True, False], "target_kl": {**KL, "when": {"line_search": 3}}},
            "algorithms",
            "never 3; allowed: [True, False]",
        ),
        (
            {"line_search": [True, False], "target_kl": {**KL, "when": {"line_search": 1}}},
            "algorithms",
            "line_search is never 1; allowed: [True, False]",
        ),
        (
            {"n_steps": [0, 1], "target_kl": {**KL, "when": {"n_steps": [0, False]}}},
            "algorithms",
            "n_steps is never False; allowed: [0, 1]",
        ),
        (
            {
                "policy_kwargs.net_arch": [[1], [2]],
                "target_kl": {**KL, "when": {"policy_kwargs.net_arch": [[True]]}},
            },
            "algorithms",
            "is never [True]; allowed: [[1], [2]]",
        ),
        (
            {"line_search": [True, False], "target_kl": {**KL, "when": {"line_search": []}}},
            "target_kl.when",
            "never tried; allowed: one choice or more",
        ),
    ],
)
def test_wrong_ranges_are_told_with_their_place(ranges, key, message):
    with pytest.raises(UserError) as error:
        checked_grid(grid(ranges))
    assert f"{key}: " in str(error.value)
    assert message in str(error.value)


def test_a_search_of_an_unknown_algorithm_is_refused():
    with pytest.raises(UserError, match="unknown algorithm 'A2C'; allowed: NPG"):
        checked_grid(grid() | {"search": {"algorithms": {"A2C": {"gamma": [0.9, 0.99]}}}})


@pytest.mark.parametrize(
    ("search", "what"),
    [
        ({"seeds": [1, 2]}, "seeds 1 are among the grid's own"),
        ({"seeds": [5], "confirm": {"seeds": [0, 9]}}, "confirm.seeds 0 are among the grid's own"),
        ({"seeds": [5, 6], "confirm": {"seeds": [6, 7]}}, "confirm.seeds 6 are among those of the"),
    ],
)
def test_seeds_serve_one_purpose(search, what):
    with pytest.raises(UserError, match=what):
        load_grid(grid(**search))


LAST = 2**32 - 1


@pytest.mark.parametrize(
    ("search", "start", "end"),
    [
        ({"seeds": [LAST], "confirm": {"seeds": 2}}, LAST + 1, LAST + 2),
        ({"seeds": [LAST - 4, 5], "confirm": {"best": 2, "seeds": 5}}, LAST - 3, LAST + 1),
        ({"seeds": [LAST - 9]}, LAST - 8, LAST + 1),
    ],
)
def test_fresh_seeds_are_counted_up_to_the_largest_seed(search, start, end):
    with pytest.raises(UserError) as error:
        load_grid(grid(**search))
    assert f"counted from {start}, " in str(error.value)
    assert f"end at {end}; allowed: seeds up to {LAST}" in str(error.value)
    assert str(error.value).startswith("grid: search.confirm: ")
    assert "given" not in str(error.value)
    fewer = {**search, "seeds": [search["seeds"][0] - 2]}
    assert max(load_grid(grid(**fewer)).search.fresh_seeds()) <= LAST


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"trials": True}, "trials"),
        ({"trials": "40"}, "trials"),
        ({"halving": True}, "halving"),
        ({"seeds": [100, True]}, "seeds.1"),
        ({"seeds": [100, "101"]}, "seeds.1"),
        ({"sensitivity": "3"}, "sensitivity"),
        ({"first_look": True}, "first_look"),
        ({"confirm": {"best": "2"}}, "confirm.best"),
    ],
)
def test_neither_texts_nor_true_are_numbers(changes, key):
    with pytest.raises(UserError, match=rf"search\.{key}: given .*; allowed: a (whole )?number"):
        load_grid(grid(**changes))


def test_what_the_constructor_takes_as_a_dict_can_be_searched():
    of = {"DQN": {"replay_buffer_kwargs": [{"handle_timeout_termination": True}, {}]}}
    given = grid() | {"algorithms": {"DQN": {"class": "DQN"}}, "search": {"algorithms": of}}
    assert checked_grid(given).search is not None


def test_seeds_of_one_algorithm_are_published_as_well():
    algorithms = {"NPG": {"class": "NPG"}, "A2C": {"class": "A2C", "seeds": [101]}}
    with pytest.raises(UserError, match="101 are among the grid's own"):
        load_grid(grid() | {"algorithms": algorithms})


def test_counted_seeds_are_none_of_those_that_are_counted_for_publishing():
    search = load_grid(grid(seeds=3, confirm={"seeds": 2})).search
    assert search.seeds == [100, 101, 102]
    assert search.fresh_seeds() == [103, 104]
    assert load_grid(grid()).search.seeds == [100, 101, 102, 103, 104]


def test_the_written_out_search_is_the_same_search():
    ranges = {
        "line_search": [True, False],
        "target_kl": {"low": 0.0, "high": 0.1, "decay": [True, False], "when": {"line_search": 1}},
    }
    ranges["target_kl"]["when"] = {"line_search": True}
    whole = load_grid(grid(ranges))
    assert load_grid(configuration(whole)) == whole
    assert whole.search.algorithms["NPG"]["target_kl"].low == 0.0


def test_a_grid_without_a_search_has_the_data_that_it_had():
    assert "search" not in configuration(load_grid(content()))
    assert "stop_at" not in load_grid(content()).runs()[0].model_dump(mode="json")["config"]
