"""Exercises on the lectures, with a checker that says which mistake was made.

================  ============================================================================
module            contents
================  ============================================================================
``worksheet``     what a student's file begins as: functions to write and to repair
``themes``        each exercise: cases, the answer, and what known mistakes make of it
``worlds``        small MDPs with all of their trajectories, for exact expectations
``checking``      from a student's function to a diagnosis
``student_file``  the worksheet's copy, and the student's file as it is executed
``__main__``      ``python -m sb3_course.exercises list|start|check``
``exercise``      what an exercise is: cases, answers, and known mistakes
================  ============================================================================
"""
