"""Images with their channels first, as networks take them, or last, as environments have them."""

from stable_baselines3.common.vec_env import VecTransposeImage

from sb3_course.collection.observations import Obs

CHANNELS_LAST = (0, 2, 3, 1)
"""Order of the axes, of images of shape (M, C, H, W)."""


class AddedTranspose(VecTransposeImage):
    """Wrapper that a model puts around environments whose images have their channels last.

    It is SB3's own, under a name that tells it from one that the user has asked for.
    """

    def as_given(self, obs: Obs) -> Obs:
        """Return observations as the environments below this wrapper return them.

        :param obs: Observations that this wrapper returned, M of them
        :return: The same, images with their channels last
        """
        if not isinstance(obs, dict):
            return obs.transpose(CHANNELS_LAST)
        images = self.image_space_keys
        return {k: one.transpose(CHANNELS_LAST) if k in images else one for k, one in obs.items()}
