"""Logs that other programs have written, read as the table of returns that reports are made from.

=================  =============================================================================
module             contents
=================  =============================================================================
``layout``         which part of a path is the algorithm, the environment and the seed
``search``         the runs in a folder: their names and their log files
``points``         the returns of one run, checked
``csv_text``       CSV files, of which the last line may be cut off
``evaluations``    ``evaluations.npz`` of SB3's ``EvalCallback``
``monitor``        ``monitor.csv`` of SB3's ``Monitor``
``scalars``        ``progress.csv`` and TensorBoard's event files of SB3's logger
``tidy_csv``       one table of many runs, such as ``returns.csv``
``zoo_arguments``  RL Zoo's ``args.yml`` and ``config.yml`` beside a log
``run_log``        one run: which of its files is read, and what it is called
``reading``        ``read_logs``: paths of any kind to one table, and what could not be read
=================  =============================================================================

**What is the return?** An evaluation comes before training episodes, whatever file it is in. Of
each run, the first of these that it has is read:

=========================================  ====================================================
log                                        return
=========================================  ====================================================
``evaluations.npz``                        mean of the evaluation's episodes
``progress.csv``, ``eval/mean_reward``     the same, without the single episodes
TensorBoard, ``eval/mean_reward``          the same
``monitor.csv``                            mean of the training episodes since the last point
``progress.csv``, ``rollout/ep_rew_mean``  mean of the last 100 training episodes
TensorBoard, ``rollout/ep_rew_mean``       the same
=========================================  ====================================================

Evaluations are deterministic unless the callback was told otherwise; training episodes are those of
the policy that explores. Nothing in a log is executed: arrays of pickled objects are refused, and
of YAML only plain text is looked at.
"""
