"""What the Dockerfile of every Bento runs, by a name that never changes: `lock.completion`.

The Dockerfile is rendered by the openllm that makes the image, and run with the one that the Bento
carries.
"""

from __future__ import annotations

import sys

from openllm.bento.lock.completion import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
