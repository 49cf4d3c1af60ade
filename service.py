"""The service of this Bento. Change the spec beside it, not this file; `OPENLLM_*` variables
override the spec.
"""

from openllm.bento import create_service

svc = create_service("demo", __file__, "bentos/demo.yaml")
