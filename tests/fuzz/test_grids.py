import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.benchmark.definition.grid import Grid, load_grid
from sb3_course.benchmark.definition.yaml_source import MOST_MISTAKES, GridError
from sb3_course.common.yaml_values import described, read_yaml
from tests.budget import small_budget

GRID = """\
name: g
include: other.yaml
seeds: 3
evaluation: &when {n_points: 20, episodes: 10}
environments:
  CartPole-v1: {total_timesteps: 1_000, n_envs: 2, normalize: true, evaluation: *when}
algorithms:
  NPG, small: &npg
    class: NPG
    params: {learning_rate: lin_3e-4, policy_kwargs: {net_arch: [64, 64]}}
  A2C: {<<: *npg, class: A2C, environments: {CartPole-v1: {params: {gamma: .9}}}}
questions: {Better?: ['NPG, small', A2C]}
time_limit: 2.5
"""
TOKENS = [
    *("1e9", "1e400", "9" * 5000, "0x" + "f" * 99, "0b_", "1:59:59", "-.inf", ".nan", "2023-13-45"),
    *("!!int x", "!!binary aGk=", "!!set {a}", "!!python/name:os.system", "!!float ''", "=", "<<"),
    *('"\\0"', '"\\uD800"', '"\\UFFFFFFFF"', "\x00", "\x1b", "\ufeff", "\ud800", "\u2028", "\t"),
    *("{a: 1, a: 2}", "{[a]: 1}", "? ", "[[[[", "{{", "- " * 60, "[" * 200, "&a ", "*a", "*when"),
    *("{1: a, 0x1: b}", "---\n", "%YAML 9.9\n", "|9\n", "'", '"', "# ", "\n", "  ", "x" * 3000),
    *("other.yaml", "none.yaml", "[other.yaml, other.yaml]", ".", "grid.yaml", "null", "no", "[]"),
]
values = st.one_of(st.sampled_from(TOKENS), st.text(max_size=12), st.integers().map(str))


@st.composite
def damaged_grids(draw):
    text = GRID
    for _ in range(draw(st.integers(1, 4))):
        places = [match.span() for match in re.finditer(r"[\w.]+|[^\w\s]|\s+", text)]
        start, end = draw(st.sampled_from(places))
        times = draw(st.sampled_from([1, 1, 1, 40]))
        text = text[:start] + draw(values) * times + text[draw(st.sampled_from([start, end])) :]
    return text


@st.composite
def bombs(draw):
    """Lists or mappings of aliases of lists of aliases, and so on."""
    width, levels = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    form = draw(st.sampled_from(["[{}]", "{{<<: [{}]}}", "{{k: [{}]}}"]))
    lines = ["a0: &a0 {x: 1}"]
    for i in range(levels):
        lines.append(f"a{i + 1}: &a{i + 1} " + form.format(", ".join([f"*a{i}"] * width)))
    return "\n".join([*lines, GRID.replace("[64, 64]", f"*a{levels}")])


def assert_read_or_refused(folder, text):
    (folder / "other.yaml").write_text("time_limit: 3\n")
    grid = folder / "grid.yaml"
    grid.write_bytes(text.encode("utf-8", "surrogatepass"))
    with small_budget():
        try:
            assert isinstance(load_grid(grid), Grid)
        except GridError as error:
            lines = str(error).splitlines()
            assert len(lines) <= MOST_MISTAKES
            assert all(str(folder) in line and len(line) < 3_000 for line in lines)


@given(damaged_grids())
def test_a_damaged_grid_is_read_or_refused(tmp_path_factory, text):
    assert_read_or_refused(tmp_path_factory.mktemp("grid"), text)


@given(bombs())
def test_aliases_of_aliases_are_read_or_refused(tmp_path_factory, text):
    assert_read_or_refused(tmp_path_factory.mktemp("grid"), text)


@given(st.lists(values, max_size=30).map(" ".join) | st.text(max_size=300))
def test_a_value_is_read_or_refused_in_one_line(text):
    with small_budget():
        try:
            read_yaml(text)
        except yaml.YAMLError as error:
            assert re.match(r"\d+:\d+: not valid YAML: ", described(error))
            assert len(described(error).splitlines()) == 1 and len(described(error)) < 400


@given(st.integers(-(2**80), 2**80))
def test_a_whole_number_is_read_exactly_or_refused(number):
    if abs(number) < 2**63:
        assert read_yaml(str(number)) == number
    else:
        with pytest.raises(yaml.YAMLError, match="allowed: whole numbers of less than"):
            read_yaml(str(number))
