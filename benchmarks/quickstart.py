"""How long the quickstart takes: importing the code location, the first demo, and a demo that has nothing to do.

    .venv/bin/python benchmarks/quickstart.py [--json FILE]

Runs in an empty temporary data folder. The peer of the import is `import dagster` alone: what any code location pays.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]


def seconds(*command: str, **environment: str) -> tuple[float, str]:
    """Wall time of a command and its output. Raises CalledProcessError when it fails."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | environment, cwd=HOUSE, capture_output=True, text=True, check=True
    )
    return time.monotonic() - start, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "dagster"
        home.mkdir()
        (home / "dagster.yaml").write_text((HOUSE / "dagster.yaml").read_text())
        environment = {"OPENTHOUGHTS_DATA": folder, "DAGSTER_HOME": str(home), "OPENTHOUGHTS_RECIPE": "quickstart"}
        peer = min(seconds("-c", "import dagster")[0] for _ in range(5))
        ours = min(seconds("-c", "import openthoughts_dagster.definitions", **environment)[0] for _ in range(5))
        first, _ = seconds("-m", "openthoughts_dagster.demo", **environment)
        second, output = seconds("-m", "openthoughts_dagster.demo", **environment)
        assert "0 completions generated" in output and "0 students trained" in output, output[-2000:]
    figures = [
        {"name": "import_dagster_alone", "value": peer, "unit": "s", "goal": None},
        {"name": "import_definitions", "value": ours, "unit": "s", "goal": 3},
        {"name": "demo_first_run", "value": first, "unit": "s", "goal": 720},
        {"name": "demo_second_run", "value": second, "unit": "s", "goal": 90},
    ]
    print(f"{'figure':<24}{'seconds':>10}{'goal':>8}")
    for figure in figures:
        print(f"{figure['name']:<24}{figure['value']:>10.1f}{figure['goal'] or '':>8}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
