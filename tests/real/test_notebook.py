"""The example notebook runs from its first cell to its last with a pretrained model, on a few rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook" / "replace-the-api.ipynb"
LIMIT_S = 600


def test_every_cell_runs(work: Path, smollm2: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    program = "\n".join(text for text in code if not text.startswith("!"))  # the installation
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "MODEL": str(smollm2), "DATA": "embedded", "ROWS": "24",
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = Path(done.stdout.splitlines()[-1].rsplit(" ", 1)[0])
    assert "Can tuned replace baseline?" in page.read_text("utf-8")
