"""Policies that tests of actors and critics share."""

from stable_baselines3.common.policies import ActorCriticPolicy


class Doubled(ActorCriticPolicy):
    """A policy with methods of its own, which have to be called."""

    def get_distribution(self, obs):
        return super().get_distribution(2 * obs)
