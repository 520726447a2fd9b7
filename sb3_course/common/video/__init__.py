"""Video recordings of episodes, whose frames go to the file as they are rendered.

==============  ==========================================================================
module          contents
==============  ==========================================================================
``file``        the file, which grows frame by frame
``rendering``   environments that render images, with or without a screen
``episodes``    which episodes are recorded, and players side by side
==============  ==========================================================================
"""

from sb3_course.common.video.episodes import Filmed, Player, filmed_env, record
from sb3_course.common.video.file import Film, check_frame, check_video, film
from sb3_course.common.video.rendering import (
    DEFAULT_FPS,
    check_renders,
    drawn_env,
    follow,
    frames_per_second,
    has_screen,
    render_modes,
    use_no_screen,
)

__all__ = [
    "DEFAULT_FPS",
    "Film",
    "Filmed",
    "Player",
    "check_frame",
    "check_renders",
    "check_video",
    "drawn_env",
    "film",
    "filmed_env",
    "follow",
    "frames_per_second",
    "has_screen",
    "record",
    "render_modes",
    "use_no_screen",
]
