import pytest
import yaml

from sb3_course.common.yaml_values import described, read_yaml
from tests.budget import small_budget


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


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: " + "9" * 5000, "1:4"),
        ("a: 1\nb: 2023-13-45", "2:4"),
        ("a: 0x" + "f" * 17, "1:4"),
        ("a: 0b_", "1:4"),
        ("a: " + ":".join(["59"] * 50_000), "1:4"),
        ("a: 1e400", "1:4"),
        ("a: !!int x", "1:4"),
        ("a: !!bool maybe", "1:4"),
        ("a: !!binary aGk=", "1:4"),
        ("a: !!set {b}", "1:4"),
        ('a: ["\\ud800"]', "1:5"),
        ('a: "\\0"', "1:4"),
        ("a: b\nc: \x1b", "2:4"),
        ("{1: a, 0x1: b}", "1:8"),
        ("? [a]\n: b", "1:3"),
        ("a: &b [*b]", "1:8"),
        ("a: &b {<<: *b}", "1:12"),
        ("[" * 60, "1:51"),
        ("a: x\n" * 50_000, "40001:1"),
        ("[" + "a," * 10_000 + "]", "1:20000"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line_and_column(text, place):
    with small_budget(), pytest.raises(yaml.YAMLError) as caught:
        read_yaml(text)
    assert described(caught.value).startswith(f"{place}: not valid YAML: ")
    assert len(described(caught.value)) < 400 and described(caught.value).isprintable()


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}", "{{k: [{}]}}"])
def test_aliases_count_as_all_that_they_stand_for(form):
    lines = ["a0: &a0 {x: 1}"]
    for i in range(9):
        lines.append(f"a{i + 1}: &a{i + 1} " + form.format(", ".join([f"*a{i}"] * 9)))
    with small_budget(), pytest.raises(yaml.YAMLError, match="more than 10,000 keys and values"):
        read_yaml("\n".join(lines))
    assert read_yaml("\n".join(lines[:3]))["a2"]


def test_numbers_up_to_the_bounds_are_read():
    assert read_yaml(f"[{2**63 - 1}, -{2**63 - 1}, 0x10, 1:30, .inf]") == [
        2**63 - 1,
        1 - 2**63,
        16,
        90,
        float("inf"),
    ]
    assert read_yaml("[" * 49 + "1" + "]" * 49)


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "!!python/name:os.system"])
def test_nothing_is_executed(text):
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        read_yaml(text)
