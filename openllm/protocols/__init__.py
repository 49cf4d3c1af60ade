"""Wire formats: HTTP bodies in, bytes out.

To add one: a module or package that exports `routes(catalog, settings)`, here or as an entry point
of the group `openllm.protocols`. Every `Endpoint` of those routes is given the vendor's `Dialect`.
"""
