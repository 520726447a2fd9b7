"""Tuning: better settings for the algorithms of a grid, on seeds that are not published (Optuna).

===============  =========================================================================
module           contents
===============  =========================================================================
``space``        from ranges to what Optuna suggests, and from there to hyper-parameters
``rungs``        successive halving over steps and seeds
``subject``      what a study is about: its runs, and the value of a setting
``journal``      the file in which Optuna keeps studies
``study``        which trial is whose when several commands work on one study; their order
``trial_queue``  queue of the runs of trials
``progress``     progress and status of studies
``finals``       the best settings on fresh seeds, and the winner's curse
``sensitivity``  what each parameter does to the return, around the chosen setting
``tuned_grid``   the grid with what was chosen
``tuner``        all of it: ``plan_tuning``, ``run_tuning``, ``tune_grid``
``page``         the page on all studies
``trials``       what is known of trials: their values, failures and order
===============  =========================================================================
"""
