"""Where Chromium is, and how it starts: nothing of it asks the world outside."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The machine of a test may have no graphics and no sandbox; the page's own policy is what is tested.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def chromium_path() -> str | None:
    """The Chromium of the system, or the one that CORRAL_TEST_CHROMIUM names."""
    if chosen := os.environ.get("CORRAL_TEST_CHROMIUM"):
        return chosen
    return next((found for name in NAMES if (found := shutil.which(name))), None)
