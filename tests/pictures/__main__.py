"""`python -m tests.pictures DIRECTORY`: a page for each dashboard of the simulated stack, and a picture where Chromium is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from components.monitoring.dashboards import dashboards
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.recording import recording_groups
from tests.pictures.example import BEGIN, END, SHOWN, pages
from tests.pictures.history import recorded
from tests.pictures.page import page
from tests.pictures.source import Source
from tests.simulators.stack import FACTS


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    groups = [*recording_groups(FACTS), *accelerator_groups(FACTS)]
    with TemporaryDirectory() as work, recorded(Path(work), pages(), groups, BEGIN, END) as url:
        for uid, text in dashboards(FACTS).items():
            file = directory / f"{uid}.html"
            file.write_text(page(json.loads(text), Source(url, SHOWN, END)))
            if chromium := shutil.which("chromium"):
                _photographed(chromium, file)


def _photographed(chromium: str, file: Path) -> None:
    height = min(2000, int(file.read_text().partition('<main style="height:')[2].partition("px")[0]) + 60)
    options = [
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        "--disable-gpu",
        "--force-device-scale-factor=0.75",
        f"--window-size=1400,{height}",
    ]
    command = [chromium, *options, f"--screenshot={file.with_suffix('.png')}", file.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
