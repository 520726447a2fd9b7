import os

import numpy as np
import pytest

from sb3_course.benchmark.definition.yaml_source import GridError, Mistake, Source, dump
from tests.budget import small_budget


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def files(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").parent.mkdir(exist_ok=True)
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path / "grid.yaml"

    return files


def source(write, **texts) -> Source:
    write(**texts)
    return Source(write().relative_to(write().parent))


def refusal(write, **texts) -> str:
    with pytest.raises(GridError) as caught:
        source(write, **texts)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: a\nseeds: 1\nname: b\n",
            "grid.yaml:3:1: not valid YAML: key 'name' is given twice",
        ),
        (
            "a: {b: 1, b: 2}",
            "grid.yaml:1:11: not valid YAML: key 'b' is given twice, first in line 1",
        ),
        ("name: !!python/object/apply:os.getcwd []", "grid.yaml:1:7: not valid YAML: could not"),
        ("a: 1\nb: [1,\n", "grid.yaml:3:1: not valid YAML"),
        ("a: \x00", "grid.yaml:1:4: not valid YAML: the character '\\x00'"),
        ("", "grid.yaml: holds nothing; allowed: keys and values"),
        ("- a", "grid.yaml: holds a list; allowed: keys and values"),
        ("include: 3", "grid.yaml:1: include: given 3; allowed: a file or a list of files"),
        ("a: 1\ninclude: [3]", "grid.yaml:2: include: given [3]; allowed"),
    ],
)
def test_what_is_not_a_grid_is_reported_with_its_line(write, text, expected):
    assert refusal(write, grid=text).startswith(expected)


def test_what_cannot_be_read_is_reported(write, tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(GridError, match=reason):
            Source(path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(GridError, match=r"latin\.yaml: is not a text file in UTF-8"):
        Source(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pipe", "pipe: is a pipe or a device; allowed: a file; included by grid.yaml"),
        (os.devnull, f"{os.devnull}: is a pipe or a device; allowed: a file"),
        ("circle", "circle: cannot be read (Too many levels of symbolic links)"),
        (".", ": is a directory; allowed: a file"),
        ("sparse", "sparse: refused: 4,294,967,296 bytes, more than 800,000"),
        ('"a\\nb"', "grid.yaml:1: include: given ['a\\nb']; allowed"),
        ('"a\\0b"', "grid.yaml:1:10: not valid YAML"),
        ("x" * 300, "cannot be read (File name too long)"),
        ("[" + "one.yaml," * 100 + "]", "101 files with "),
        ("[" + "many.yaml," * 3 + "]", "keys and values in all; allowed: 100 and 10,000"),
        ("twice0.yaml", "101 files with "),
    ],
)
def test_what_would_not_end_is_not_included(write, tmp_path, name, expected):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    with open(tmp_path / "sparse", "w") as file:
        file.truncate(2**32)
    files = {"one": "a: 1", "many": f"a: [{'x,' * 4000}]", "twice30": "a: 1"}
    for i in range(30):
        files[f"twice{i}"] = f"include: [twice{i + 1}.yaml, twice{i + 1}.yaml]"
    with small_budget():
        message = refusal(write, grid=f"include: {name}", **files)
    assert expected in message and len(message.splitlines()) == 1


def test_at_most_fifty_mistakes_are_reported_each_of_a_bounded_length(write):
    found = [Mistake((f"k\n{i}",), "wrong " * 10_000) for i in range(9_000)]
    lines = str(source(write, grid="a: 1").error(found)).splitlines()
    assert len(lines) == 50 and max(map(len, lines)) < 3_000
    assert lines[0].startswith("grid.yaml:1: 'k\\n0': wrong")


@pytest.mark.parametrize("number", [10**5000, 2**63], ids=["digits", "bits"])
def test_a_mapping_with_too_large_a_number_is_refused(number):
    assert of_mapping({"a": {"b": number}}).startswith("grid: ")


def test_a_mapping_of_lists_without_end_is_refused():
    endless: list = []
    endless.append(endless)
    assert "a part of itself" in of_mapping({"a": endless})


def test_included_mappings_merge_and_the_including_file_wins(write):
    texts = {
        "shared": "seeds: 3\nalgorithms: {A: {class: A2C, params: {gamma: 0.9, n_steps: 5}}}",
        "more": "algorithms: {B: {class: NPG}, A: {params: {n_steps: 7, ent_coef: 0.1}}}",
        "grid": "name: g\ninclude: [shared.yaml, more.yaml]\nalgorithms: {A: {params: {gamma: 1}}}",
    }
    assert source(write, **texts).data == {
        "name": "g",
        "seeds": 3,
        "algorithms": {
            "A": {"class": "A2C", "params": {"gamma": 1, "n_steps": 7, "ent_coef": 0.1}},
            "B": {"class": "NPG"},
        },
    }


def test_lists_and_values_are_replaced_whole(write):
    texts = {"base": "a: [1, 2, 3]\nb: {c: 1}", "grid": "include: base.yaml\na: [4]\nb: true"}
    assert source(write, **texts).data == {"a": [4], "b": True}


def test_paths_are_relative_to_the_file_that_names_them(write, tmp_path):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "npg.yaml").write_text("include: base.yaml\na: 1")
    (tmp_path / "tuned" / "base.yaml").write_text("b: 2")
    assert source(write, grid="include: tuned/npg.yaml").data == {"a": 1, "b": 2}


def test_one_file_may_be_included_by_two(write):
    texts = {"base": "a: 1", "x": "include: base.yaml", "y": "include: base.yaml"}
    assert source(write, grid="include: [x.yaml, y.yaml]", **texts).data == {"a": 1}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, ["none.yaml: cannot be read", "included by grid.yaml"]),
        ({"none": "[]"}, ["none.yaml: holds a list", "included by grid.yaml"]),
        ({"none": "a: {"}, ["none.yaml:1:5: not valid YAML", "included by grid.yaml"]),
        ({"none": "include: grid.yaml"}, ["none.yaml:1", "grid.yaml → none.yaml → grid.yaml"]),
        ({"none": "include: none.yaml"}, ["grid.yaml → none.yaml → none.yaml"]),
        ({"none": "include: a.yaml"}, ["a.yaml: cannot be read", "included by none.yaml"]),
    ],
)
def test_a_wrong_include_names_both_files(write, texts, expected):
    message = refusal(write, grid="include: none.yaml", **texts)
    for part in expected:
        assert part in message
    assert len(message.splitlines()) == 1


def test_mistakes_are_reported_in_the_order_of_the_files_with_their_lines(write):
    texts = {
        "base": "# tuned\nparams:\n  gamma: 2\n  n_steps: -1\n",
        "grid": "include: base.yaml\nseeds:\n- 1\n- -1\nparams:\n  gamma: 3\n",
    }
    keys = [("params", "n_steps"), ("params", "gamma"), ("seeds", 1), ("params", "new"), ("name",)]
    error = source(write, **texts).error([Mistake(key, "is\nwrong") for key in keys])
    assert str(error).splitlines() == [
        "grid.yaml:1: name: is wrong",
        "grid.yaml:4: seeds.1: is wrong",
        "grid.yaml:5: params.new: is wrong",
        "grid.yaml:6: params.gamma: is wrong",
        "base.yaml:4: params.n_steps: is wrong",
    ]


def test_keys_that_come_by_anchor_point_to_where_they_stand(write):
    text = "a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n"
    error = source(write, grid=text).error([Mistake(("b", "x"), "!"), Mistake(("b", "y"), "!")])
    assert str(error).splitlines() == ["grid.yaml:2: b.x: !", "grid.yaml:6: b.y: !"]


def of_mapping(data) -> str:
    with pytest.raises(GridError) as caught:
        Source(data)
    return str(caught.value)


def test_mistakes_in_a_mapping_are_reported_with_their_keys_alone():
    data = {"seeds": [1, -1], "params": {"gamma": 3}}
    keys = [("params", "gamma"), ("params", "new"), ("seeds", 1), ("name",)]
    error = Source(data).error([Mistake(key, "is wrong") for key in keys])
    assert sorted(str(error).splitlines()) == [
        "grid: name: is wrong",
        "grid: params.gamma: is wrong",
        "grid: params.new: is wrong",
        "grid: seeds.1: is wrong",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"include": 3}, "grid: include: given 3; allowed: a file or a list of files"),
        ({"include": "none.yaml"}, "none.yaml: cannot be read (No such file or directory); inc"),
        ({"a": {"b": [1, {2}, 1j]}}, "grid: a.b.2: given 1j of type complex; allowed: numbers, st"),
        ({"a": {(1, 1j): 1}}, "grid: a: given {(1, 1j): 1} of type dict; allowed: numbers, st"),
        ({1j: 1}, "grid: its keys: given {1j: 1} of type dict; allowed: numbers, strings"),
    ],
)
def test_a_mapping_that_is_not_a_grid_is_reported_without_a_line(write, data, expected):
    assert of_mapping(data).startswith(expected)


def test_numbers_of_numpy_and_ranges_are_plain_data():
    data = {
        "seeds": range(2, 5),
        "steps": np.int64(10),
        "kl": np.float64(0.1),
        "rates": [np.float32(0.5), np.bool_(True), np.str_("1e3")],
        "many": np.logspace(0, 2, 3),
        "none": np.array(3),
    }
    read = Source(data).data
    assert read == {
        "seeds": [2, 3, 4],
        "steps": 10,
        "kl": 0.1,
        "rates": [0.5, True, "1e3"],
        "many": [1.0, 10.0, 100.0],
        "none": 3,
    }
    assert {type(value) for value in read["many"]} == {float}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.complex64(1j), "grid: a.0: given np.complex64(1j) of type complex64; allowed: numbers"),
        (range(10**12), "grid: not valid YAML: more than 10,000 keys"),
    ],
)
def test_what_is_too_much_of_numpy_is_refused(value, expected):
    assert of_mapping({"a": [value]}).startswith(expected)


def test_a_mapping_includes_files_of_the_working_directory(write):
    write(base="a: 1\nb: {c: 2, d: 3}")
    assert Source({"include": "base.yaml", "b": {"c": 4}}).data == {"a": 1, "b": {"c": 4, "d": 3}}


def test_a_mapping_may_include_a_file_of_any_name(write, tmp_path):
    (tmp_path / "grid").write_text("a: 1")
    assert Source({"include": "grid"}).data == {"a": 1}
    (tmp_path / "grid").write_text("include: grid")
    assert "files include each other: grid → grid → grid" in of_mapping({"include": "grid"})


@pytest.mark.parametrize(
    "data", [{"1e-3": "1e3", "a": [1e3, "1000", "é"]}, {"no": "0x10", "b": 1e-7, "c": "1_0"}]
)
def test_what_is_written_is_read_as_the_same(tmp_path, data):
    (tmp_path / "grid.yaml").write_text(dump(data))
    assert Source(tmp_path / "grid.yaml").data == data


@pytest.mark.parametrize(
    "value", ["1e-3", "3E6", "1_000", "no", "~", "", "2024-01-01", 1e-10, 1e300, 0.1, None, [True]]
)
def test_values_of_a_mapping_stay_what_they_are(value):
    (read,) = Source({"a": value}).data.values()
    assert (read, type(read)) == (value, type(value))
