"""A real browser without a window, to see what a page does."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path


class Browser:
    """Loads pages from a folder, without any network."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def load(self, page: str, script: str = "") -> str:
        """Load a page, let a script of the test's act on it, and return what has become of it."""
        if script:
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            page = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
            page = page.replace("</body>", f"<script>{script}</script></body>")
        path = self._folder / "page.html"
        path.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [
                self._program,
                *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--disable-dev-shm-usage"),
                # Root has no other way to run it.
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                f"--user-data-dir={self._folder / 'profile'}",
                "--virtual-time-budget=2000",
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout[done.stdout.index("<html") :]


def find_browser() -> str | None:
    """Return the path of Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)
