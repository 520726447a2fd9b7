"""The exercises by theme, and all of them in the order of the worksheet."""

from sb3_course.exercises.exercise import Exercise
from sb3_course.exercises.themes.baselines import BIASED, OPTIMAL_BASELINE
from sb3_course.exercises.themes.critics import ADVANTAGE_STEP, CRITIC_STEP
from sb3_course.exercises.themes.natural import FISHER, NATURAL_STEP
from sb3_course.exercises.themes.off_policy import PER_DECISION, WEIGHTED_STEP
from sb3_course.exercises.themes.returns import GAE, REWARD_TO_GO
from sb3_course.exercises.themes.updates import REINFORCE_STEP, TO_GO_STEP

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for exercise in (
        REWARD_TO_GO,
        GAE,
        OPTIMAL_BASELINE,
        BIASED,
        PER_DECISION,
        FISHER,
        REINFORCE_STEP,
        TO_GO_STEP,
        ADVANTAGE_STEP,
        CRITIC_STEP,
        WEIGHTED_STEP,
        NATURAL_STEP,
    )
}
"""Exercises by the names of their functions."""
