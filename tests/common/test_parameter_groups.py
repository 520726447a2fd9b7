import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from torch import nn

from sb3_course.common.parameter_groups import split_parameters

IMAGES = spaces.Box(0, 255, (1, 36, 36), dtype="uint8")


def parameter_names(policy):
    """Return the names of the actor's parameters and of the critic's."""
    by_id = {id(p): name for name, p in policy.named_parameters()}
    return [{by_id[id(p)] for p in part} for part in split_parameters(policy)]


def test_each_layer_of_an_mlp_policy_is_the_actors_or_the_critics():
    actor, critic = parameter_names(
        ActorCriticPolicy(spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), lambda _: 0, [4])
    )
    assert actor == {
        "log_std",
        "mlp_extractor.policy_net.0.weight",
        "mlp_extractor.policy_net.0.bias",
        "action_net.weight",
        "action_net.bias",
    }
    assert critic == {
        "mlp_extractor.value_net.0.weight",
        "mlp_extractor.value_net.0.bias",
        "value_net.weight",
        "value_net.bias",
    }


@pytest.mark.parametrize("share", [True, False])
def test_a_shared_extractor_is_the_actors(share):
    policy = ActorCriticCnnPolicy(
        IMAGES,
        spaces.Discrete(2),
        lambda _: 0,
        share_features_extractor=share,
        features_extractor_kwargs={"features_dim": 4},
    )
    actor, critic = parameter_names(policy)
    assert any(name.startswith("features_extractor.") for name in actor)
    assert any(name.startswith("vf_features_extractor.") for name in critic) == (not share)


def test_what_depends_on_a_parameter_decides_whose_it_is_not_its_name():
    class Tempered(ActorCriticPolicy):
        def _build(self, lr_schedule):
            super()._build(lr_schedule)
            self.temperature = nn.Parameter(th.ones(()))
            self.unused = nn.Parameter(th.ones(()))

        def _get_action_dist_from_latent(self, latent_pi):
            return self.action_dist.proba_distribution(
                action_logits=self.action_net(latent_pi) / self.temperature
            )

    actor, critic = parameter_names(
        Tempered(spaces.Box(-1, 1, (2,)), spaces.Discrete(2), lambda _: 0, [4])
    )
    assert "temperature" in actor
    assert "unused" not in actor | critic
