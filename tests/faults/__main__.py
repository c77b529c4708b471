"""``python -m tests.faults NAME --count N --seed S``: one campaign; prints its seed and counts; exit 1 on a fault."""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

# Each is a module beside this file with ``run(count: int, seed: int, folder: Path) -> int``: the faults it found.
CAMPAIGNS = ("disks", "fuzz", "kills", "pairs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--count", type=int, default=10, help="how many trials")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    parser.add_argument("--keep", type=Path, help="a folder for what the trials leave; a temporary one by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qpeft-faults-") as place:
        folder = given.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{given.campaign}: {given.count} trials, seed {given.seed}", flush=True)
        faults = import_module(f"tests.faults.{given.campaign}").run(given.count, given.seed, folder)
    print(f"{given.campaign}: {faults} faults in {given.count} trials, seed {given.seed}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
