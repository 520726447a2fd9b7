"""Vector environments: EnvPool behind SB3's interface, and one function to make any backend."""

from sb3_course.envs.envpool_vec_env import EnvPoolVecEnv
from sb3_course.envs.make import backend_of, make_vec_env

__all__ = ["EnvPoolVecEnv", "backend_of", "make_vec_env"]
