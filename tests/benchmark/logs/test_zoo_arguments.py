import builtins

import pytest
import yaml

from sb3_course.benchmark.logs.zoo_arguments import pairs, plain_texts


def test_nothing_in_arguments_is_executed(monkeypatch):
    calls = []
    monkeypatch.setattr(builtins, "print", lambda *words: calls.append(words))
    text = (
        "!!python/object/apply:collections.OrderedDict\n"
        "- - - env\n    - A-v1\n"
        "  - - evil\n    - !!python/object/apply:builtins.print [run]\n"
        "  - - kwargs\n    - {a: !!python/name:os.system ''}\n"
        "  - - none\n    - null\n"
    )
    assert plain_texts(pairs(text)) == {"env": "A-v1"}
    assert calls == []
    assert yaml.load(text, yaml.UnsafeLoader)["env"] == "A-v1"
    assert calls == [("run",)]  # it would have been


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("env: A-v1\nseed: 3\nlist: [1]\n", {"env": "A-v1", "seed": "3"}),
        ("", {}),
        ("just text", {}),
        ("- a\n- b\n", {}),
        ("- - [a]\n", {}),
        ("- - - a\n    - b\n    - c\n", {}),
    ],
)
def test_pairs_of_plain_texts(text, found):
    assert plain_texts(pairs(text)) == found
