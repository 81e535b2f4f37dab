"""Where a study can be looked at afterwards: MLflow runs, a report, and figures as PNG.

`Recorder` (recorder.py) projects a study into MLflow; figures.py and others turn result tables into figures, which
drawing_html.py and drawing_png.py draw; report.py puts them on a page. Nothing here knows what a strategy, a sampler or
a cluster is.
"""

from __future__ import annotations

import os

# MLflow reads these when it is imported or used; what the user has set already is left alone.
for _name, _value in {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # nothing of ours is ever unpickled
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a study tells nobody that it ran
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the default 7 waits 247 s on a refused address
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a server would print two lines for every trial
}.items():
    os.environ.setdefault(_name, _value)
