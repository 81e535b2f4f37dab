"""Where MLflow's UI shows an experiment, a study and the table of its trials.

The UI has a face for language models and one for runs with metrics, and opens the first unless an address says otherwise.
"""

from __future__ import annotations

FACE = "workflowType=machine_learning"
LOCAL = "http://localhost:5000"  # where `hedgegrid mlflow` serves unless told otherwise


def experiment_link(ui: str, experiment_id: str) -> str:
    """All studies of an experiment, newest first, with their trials folded away.

    >>> experiment_link("http://localhost:5000/", "1")
    'http://localhost:5000/#/experiments/1/runs?workflowType=machine_learning'
    """
    return f"{_runs(ui, experiment_id)}?{FACE}"


def study_link(ui: str, experiment_id: str, run_id: str) -> str:
    """The page of a study's own run: its note, its metrics, its files."""
    return f"{_runs(ui, experiment_id)}/{run_id}?{FACE}"


def trials_link(ui: str, experiment_id: str, study_id: str) -> str:
    """The table of a study's trials, best score first, with the columns that the study names."""
    return f"{_runs(ui, experiment_id)}?viewStateShareKey={study_id}&{FACE}"


def _runs(ui: str, experiment_id: str) -> str:
    return f"{ui.rstrip('/')}/#/experiments/{experiment_id}/runs"
