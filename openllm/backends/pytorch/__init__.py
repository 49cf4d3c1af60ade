"""The PyTorch engine: our own continuous batching over transformers' `AutoModelForCausalLM`.

How a step goes, and which file does it: `engine` owns the thread and the loop, `scheduler` says
what is computed next, `forward.flat` runs it in one forward pass over `forward.slots` (the KV
cache) with `forward.attention`, `sampling.sampler` draws the tokens. Models whose attention or
cache does not fit run through `forward.solo`. Importing this package
does not import torch.
"""
