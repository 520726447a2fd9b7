"""From environments to a batch: the policy acts, nothing else runs until the batch is complete.

================  ==============================================================================
module            contents
================  ==============================================================================
``collector``     which steps count, and when a batch is complete
``rollout``       one batch, time-major and frozen
``observations``  arrays or dicts of arrays: map, select, stack, join
``images``        images with their channels first or last
================  ==============================================================================
"""

from sb3_course.collection.collector import FixedSteps, WholeEpisodes, collect
from sb3_course.collection.rollout import Rollout

__all__ = ["FixedSteps", "Rollout", "WholeEpisodes", "collect"]
