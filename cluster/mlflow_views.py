"""What there is to look at on an MLflow server, asked over HTTP: its experiments and its latest studies."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tracking.entities import STUDY_TAG, TRIAL_TAG
from tracking.links import experiment_link, trials_link

EXPERIMENTS = 20
STUDIES = 5
OF_STUDIES = "tags.study_digest LIKE '%'"  # the runs of studies have it, those of their trials do not


@dataclass(frozen=True, slots=True)
class Views:
    """The pages of the server at `address`."""

    address: str

    def lines(self) -> Iterator[str]:
        """The addresses, in words for a terminal."""
        experiments = self._ask("experiments/search", max_results=EXPERIMENTS, order_by=["last_update_time DESC"])
        ours = [each for each in experiments.get("experiments", []) if each["name"] != "Default"]
        yield f"MLflow: {self.address}"
        for each in ours:
            yield f"  {each['name']}  {experiment_link(self.address, each['experiment_id'])}"
        if not ours:
            yield f"  nothing is recorded yet; a study records here with --set tracking.uri={self.address}"
            return
        runs = self._ask(
            "runs/search",
            experiment_ids=[each["experiment_id"] for each in ours],
            filter=OF_STUDIES,
            max_results=STUDIES,
            order_by=["attributes.start_time DESC"],
        )
        for run in runs.get("runs", []):
            tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
            if STUDY_TAG in tags and TRIAL_TAG not in tags:
                info = run["info"]
                link = trials_link(self.address, info["experiment_id"], tags[STUDY_TAG])
                yield f"  trials of {info['run_name']} ({info['status'].lower()}), best first  {link}"

    def _ask(self, what: str, **question: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.address}/api/2.0/mlflow/{what}",
            data=json.dumps(question).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
