import pytest
import yaml

from sb3_course.common.yaml_values import read_yaml


def test_numbers_are_read_as_python_reads_them():
    assert read_yaml("{a: 1e-3, b: 3E6, c: 100_000, d: -2e+1, e: 1.5e6}") == {
        "e": 1.5e6,
        "a": 1e-3,
        "b": 3e6,
        "c": 100_000,
        "d": -20.0,
    }
    assert read_yaml("[1, v1e3, 2024]") == [1, "v1e3", 2024]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("+2E4", 2e4),
        ("1.e2", 100.0),
        ("0.5", 0.5),
        ("lin_3e-4", "lin_3e-4"),
        ("1e", "1e"),
        ("'1e3'", "1e3"),
        ("[64, 64]", [64, 64]),
        ("null", None),
        ("", None),
    ],
)
def test_values_keep_their_types(text, value):
    got = read_yaml(text)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: 2\na: 3", 1), ("b: {c: 1, c: 1}", 1), ("b:\n  c: 1\n  c: 2", 2)]
)
def test_a_key_given_twice_is_refused_with_its_first_line(text, line):
    with pytest.raises(yaml.YAMLError, match=f"is given twice, first in line {line}"):
        read_yaml(text)


def test_equal_keys_of_different_mappings_are_allowed():
    assert read_yaml("a: {c: 1}\nb: {c: 1}\n1: x\n'1': y") == {
        "a": {"c": 1},
        "b": {"c": 1},
        1: "x",
        "1": "y",
    }


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "!!python/name:os.system"])
def test_nothing_is_executed(text):
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        read_yaml(text)
