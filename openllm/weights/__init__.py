"""From a name to checked files: of models and of LoRA adapters, on the disk or from the Hub.

To add a place where models come from: a member of `origin.Origin`, and its case in `resolve`.
"""
