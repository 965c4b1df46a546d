"""Load Messangi from any directory, like ``textlift load messangi``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from textlift.cli import end, main

if __name__ == "__main__":
    end(main(["load", "messangi", *sys.argv[1:]]))
