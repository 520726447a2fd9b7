"""Images with their channels first, as networks take them, or last, as environments have them."""

from operator import methodcaller

from stable_baselines3.common.vec_env import VecTransposeImage

from sb3_course.collection.observations import Array, Obs


class AddedTranspose(VecTransposeImage):
    """Wrapper that a model puts around environments whose images have their channels last.

    It is SB3's own, under a name that tells it from one that the user has asked for.
    """

    def as_given(self, obs: Obs) -> Obs:
        """Return observations as the environments below this wrapper return them.

        :param obs: Observations that this wrapper returned, M of them
        :return: The same, images with their channels last
        """
        channels_last = methodcaller("transpose", 0, 2, 3, 1)
        if not isinstance(obs, dict):
            image: Array = channels_last(obs)
            return image
        images = self.image_space_keys
        return {key: channels_last(one) if key in images else one for key, one in obs.items()}
