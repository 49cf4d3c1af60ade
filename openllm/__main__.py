"""`python -m openllm` is the `openllm` command."""

from openllm.cli import main

if __name__ == "__main__":
    main()
