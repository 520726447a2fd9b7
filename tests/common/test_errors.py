import pytest

from sb3_course.common.errors import UserError, in_words, unknown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("A2", "unknown algorithm 'A2'; did you mean 'A2C'? allowed: A2C, NPG, PPO"),
        ("npg", "unknown algorithm 'npg'; did you mean 'NPG'? allowed: A2C, NPG, PPO"),
        ("forest", "unknown algorithm 'forest'; allowed: A2C, NPG, PPO"),
        (3, "unknown algorithm 3; allowed: A2C, NPG, PPO"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_and_all_names(given, message):
    assert unknown("algorithm", given, {"PPO", "NPG", "A2C"}) == message


@pytest.mark.parametrize(("n", "shown"), [(40, "n00, n01, "), (41, "41 names")])
def test_long_lists_of_names_are_counted(n, shown):
    message = unknown("name", "m07", [f"n{i:02d}" for i in range(n)])
    assert message.startswith("unknown name 'm07'; did you mean 'n07'? allowed: " + shown)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("gamma must be\n  at most 1"), "gamma must be at most 1"),
        (UserError("no such file"), "no such file"),
        (AssertionError("shapes differ"), "shapes differ"),
        (ValueError(), "ValueError: no reason given"),
        (AssertionError(), "AssertionError: no reason given"),
        (TypeError("an integer is required"), "TypeError: an integer is required"),
        (KeyError("gamma"), "KeyError: 'gamma'"),
        (RuntimeError("one\ntwo"), "RuntimeError: one two"),
    ],
)
def test_an_error_is_described_in_one_line(error, expected):
    assert in_words(error) == expected
