"""Images of prompts: fetched, decoded within limits, and made into what a model takes by its own
processor.
"""
