"""Makes the pictures of docs/mlflow.md again: `python tests/screenshots.py`, in half a minute, with Chromium installed.

The demo study with 256 trials, recorded into a new SQLite file, as `hedgegrid mlflow` shows it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from browser import Page
from mlflow_pages import choose_file, runs, window
from PIL import Image
from servers import ROOT, mlflow_server
from studies import run_one

from cluster.config import load_study
from cluster.plan import make_plan

IMAGES = ROOT / "docs" / "images"
LARGEST = 200_000  # bytes
WITHOUT_PATH = """() => {  // where a file lies on the machine that made the picture is nobody's business
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) if (walk.currentNode.data.includes('file://')) walk.currentNode.data = 'mlflow-artifacts';
}"""


def main() -> None:
    """Run the study, open its pages, keep what they show."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # addresses as a user sees them
        plan = make_plan(load_study(ROOT / "configs" / "studies" / "demo.yaml", ["search.trials=256"]), Path("runs"))
        study = run_one(plan)
        with mlflow_server(plan.config.tracking.uri, folder) as served, window(folder / "browser") as page:
            trials, own = (
                f"{served.address}{str(url).partition('localhost:5000')[2]}"
                for url in (study.trials_url, study.study_url)
            )
            page.open(trials)
            runs(page, at_least=50)
            page.click("document.querySelector('button[aria-label=\"Hide banner\"]')")
            keep(page, "trials")

            page.open(own)
            page.wait_for("Show more")
            page.click("[...document.querySelectorAll('button')].find(button => button.innerText === 'Show more')")
            keep(page, "study")

            page.open(own.replace("?", "/artifacts?"))
            choose_file(page, "figures", "document.querySelector('[artifact-name=\"equity.png\"]') !== null")
            choose_file(page, "equity.png", "[...document.images].some(image => image.naturalWidth > 1000)")
            page.wait("[...document.images].some(image => image.src.startsWith('blob:') && image.naturalWidth > 1000)")
            page.run(f"({WITHOUT_PATH})()")
            keep(page, "figure")


def keep(page: Page, name: str) -> None:
    """What the window shows as docs/images/mlflow_<name>.png, in 256 colours."""
    time.sleep(2)  # for what moves into its place
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = page.picture(IMAGES / f"mlflow_{name}.png")
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
    size = path.stat().st_size
    assert size <= LARGEST, f"{path} has {size:,} bytes"
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")


if __name__ == "__main__":
    main()
