"""A Bento as a container image, and the manifests that run it on Kubernetes.

To add a container engine: a row of `container.ENGINES`.
"""
