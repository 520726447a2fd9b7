"""Runs in MLflow: on the server of ``MLFLOW_TRACKING_URI``, by default in the folder ``mlruns``."""

import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sb3_course.common.tracking.tracker import TrackedRun, Tracking, flat

RUN_ID = "sb3_course.run_id"
"""Tag by which a run is found again."""
MOST_PARAMS, LONGEST_PARAM = 100, 6000


class MlflowRun:
    """A run of MLflow.

    :param client: Client of the server or the folder
    :param run_id: Id that MLflow gave it
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._id = client, run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        now = int(time.time() * 1000)
        metrics = [Metric(_named(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def video(self, path: Path, step: int) -> None:
        """Add a video to the run's artifacts."""
        self._client.log_artifact(self._id, str(path), "videos")

    def finish(self, complete: bool) -> None:
        """Set the run's state."""
        self._client.set_terminated(self._id, "FINISHED" if complete else "FAILED")


def open_run(tracking: Tracking, run: TrackedRun) -> MlflowRun:
    """Begin a run in place of an earlier one, or go on with that.

    :param tracking: Project and folder
    :param run: The run
    :return: Run in MLflow
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 prefers a database
        uri = (tracking.folder / "mlruns").as_uri()
    client = MlflowClient(tracking_uri=uri)
    experiment = _experiment(client, tracking)
    query = f"tags.`{RUN_ID}` = '{run.id}'"
    before = client.search_runs([experiment], query, max_results=1)
    if before and run.continued:
        client.set_terminated(before[0].info.run_id, "RUNNING")
        return MlflowRun(client, before[0].info.run_id)
    for earlier in before:
        client.delete_run(earlier.info.run_id)
    words = {RUN_ID: run.id, "group": run.group, **{_named(tag): "" for tag in run.tags}}
    run_id: str = client.create_run(experiment, tags=words, run_name=run.name).info.run_id
    params = [Param(key, _short(value)) for key, value in flat(run.config).items()]
    for i in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[i : i + MOST_PARAMS])
    commit = run.config.get("code", {}).get("git_commit")
    client.log_batch(run_id, tags=[RunTag("mlflow.source.git.commit", str(commit))])
    return MlflowRun(client, run_id)


def _named(name: str) -> str:
    """Return a name as MLflow takes it: of letters, digits, and a few signs."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _experiment(client: MlflowClient, tracking: Tracking) -> str:
    """Return the id of the project's experiment, which runs that start together make once."""
    tracking.folder.mkdir(parents=True, exist_ok=True)
    with open(tracking.folder / ".mlflow.lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        found = client.get_experiment_by_name(tracking.project)
        if found is not None:
            known: str = found.experiment_id
            return known
        try:
            made: str = client.create_experiment(tracking.project)
        except MlflowException:  # another machine was faster
            theirs: Any = client.get_experiment_by_name(tracking.project)
            made = theirs.experiment_id
        return made


def _short(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:LONGEST_PARAM]
