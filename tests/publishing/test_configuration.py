import functools

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from sb3_course import NPG
from sb3_course.publishing.configuration import installed, plain, policy_name


class Small(ActorCriticPolicy):
    """A policy of a user's."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1e-3, 1e-3),
        ({"clip_obs": float("inf")}, {"clip_obs": "inf"}),
        ({"net_arch": {"pi": (8, 8)}}, {"net_arch": {"pi": [8, 8]}}),
        ({"n": [np.int64(16)], "on": np.bool_(True)}, {"n": [16], "on": True}),
        (np.float64("nan"), "nan"),
        (torch.nn.ReLU, "torch.nn.modules.activation:ReLU"),
        (FloatSchedule(ConstantSchedule(0.2)), 0.2),
        (LinearSchedule(3e-4, 0.0, 1.0), "lin_0.0003"),
        (LinearSchedule(np.float64(0.00012345678), 0.0, 1.0), "lin_0.00012345678"),
        (LinearSchedule(1.0, 0.5, 1.0), "LinearSchedule(start=1.0, end=0.5, end_fraction=1.0)"),
        (object(), "object"),  # an address would differ each time
        (functools.update_wrapper, "functools:update_wrapper"),
    ],
)
def test_values_are_written_as_json_or_as_python_would(value, expected):
    assert plain(value) == expected


def test_policies_have_the_names_that_constructors_take():
    for policy, name in [("MlpPolicy", "MlpPolicy"), (Small, f"{__name__}:Small")]:
        for algorithm in (NPG, A2C):
            model = algorithm(policy, "CartPole-v1", device="cpu")
            assert policy_name(model) == name


def test_versions_are_those_of_what_is_installed():
    assert torch.__version__.startswith(installed()["torch"])  # "+cu130" may be left out
    assert None not in installed().values()
