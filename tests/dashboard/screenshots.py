"""Write the pictures of docs/dashboard.md: ``python -m tests.dashboard.screenshots``.

They are of the warehouse that ``textlift demo`` and ``textlift models --sandbox`` have made in the
current directory.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date, timedelta
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

from tests.conftest import PROJECT
from tests.dashboard.conftest import CHROMIUM, FLAGS

#: Picture → page, theme, height in pixels, and what is chosen.
PICTURES: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "dashboard-audience": ("Audience", "light", 800, {}),
    "dashboard-messages": (
        "Messages",
        "dark",
        760,
        {"service": "mcommons", "from": str(date.today() - timedelta(days=120))},
    ),
    "dashboard-broadcasts": ("Broadcasts", "light", 800, {"service": "mcommons"}),
}


def main() -> None:
    """Take the pictures."""
    process = subprocess.Popen(
        [sys.executable, "-m", "textlift", "dashboard", "--sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, "the dashboard did not start"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            for name, (page, theme, height, chosen) in PICTURES.items():
                opened = browser.new_page(
                    color_scheme=theme,  # type: ignore[arg-type]
                    viewport={"width": 1200, "height": height},
                )
                opened.goto(f"{found.group()}&{urlencode({'page': page, **chosen})}")
                opened.wait_for_selector(".textlift-read-at")
                opened.locator("svg [role='graphics-symbol']").first.wait_for()
                opened.wait_for_timeout(1000)  # until the last chart has its size
                opened.screenshot(path=PROJECT / "docs" / f"{name}.png")
                opened.close()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
