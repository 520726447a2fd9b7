"""RL Zoo with our algorithms: ``python -m sb3_course.zoo train --algo npg --env HalfCheetah-v4``.

``python -m sb3_course.zoo`` is ``python -m rl_zoo3`` with these algorithms beside its own: the same
commands, options, log folders and plots. A script of one's own registers them by itself::

    from sb3_course import zoo

    zoo.register()
    from rl_zoo3.train import train

    train()
"""

from sb3_course.zoo.registration import NAMES, register

__all__ = ["NAMES", "register"]
