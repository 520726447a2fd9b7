import pytest

from sb3_course.benchmark.logs.layout import ZOO, ZOO_TENSORBOARD, Layout
from sb3_course.common.errors import UserError

UUID = "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("pattern", "path", "said"),
    [
        (ZOO, "ppo/CartPole-v1_3", ("ppo", "CartPole-v1", "3")),
        (ZOO, "ppo/My_Env-v0_12/deeper/file.npz", ("ppo", "My_Env-v0", "12")),
        (ZOO, "ppo/CartPole-v1", None),
        (ZOO, "ppo", None),
        (ZOO, "ppo/CartPole-v1_x", None),
        (ZOO, f"ppo/CartPole-v1_3_{UUID}", ("ppo", "CartPole-v1", "3")),
        (ZOO_TENSORBOARD, "CartPole-v1/PPO_3", ("PPO", "CartPole-v1", "3")),
        ("{environment}/{algorithm}/seed-{seed}", "E/A b/seed-4", ("A b", "E", "4")),
        ("{environment}/{algorithm}/seed-{seed}", "E/A/4", None),
        ("*/{algorithm}_*/{seed}", "x/A_old/4", ("A", None, "4")),
        ("{algorithm}_{environment}_{seed}.csv", "my_a_E-v1_0.csv", ("my_a", "E-v1", "0")),
        ("{algorithm}.{seed}", "A+0", None),  # a dot is a dot
        ("/{algorithm}/", "A", ("A", None, None)),
    ],
)
def test_a_path_says_what_the_pattern_names(pattern, path, said):
    found = Layout.parse(pattern).match(path.split("/"))
    parts = ("algorithm", "environment", "seed")
    assert (found and tuple(map(found.get, parts))) == said


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("{algo}/{environment}_{seed}", "did you mean 'algorithm'"),
        ("{algorithm}/{algorithm}", "each at most once"),
        ("logs", "allowed: a path with {algorithm}"),
        ("", "allowed: a path with"),
        ("../{algorithm}", "allowed"),
        ("{algorithm}//{seed}", "allowed"),
        ("{algorithm", "allowed"),
        ("{{algorithm}}", "allowed"),
        ("{algorithm}/*****", "up to 4 times *"),
    ],
)
def test_a_wrong_pattern_is_told_what_is_allowed(pattern, part):
    with pytest.raises(UserError) as caught:
        Layout.parse(pattern)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
