"""The echo engine: repeats the prompt, for tests, examples and measuring the layers above."""
