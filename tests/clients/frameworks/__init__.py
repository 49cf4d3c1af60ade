"""Frameworks that stand on the vendors' clients, in an environment of their own."""

import os
from pathlib import Path

from tests.clients.servers import REPOSITORY

# Where Node.js finds its packages, too
HOME = Path(os.environ.get("FRAMEWORKS_HOME") or REPOSITORY / ".venv-frameworks")
