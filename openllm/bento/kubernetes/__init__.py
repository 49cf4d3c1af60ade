"""A Bento's image on Kubernetes: plain manifests, a Helm chart, or KServe's objects.

To add an object: a function that makes it of a `Workload`, called in `manifests.make_manifests`.
"""
