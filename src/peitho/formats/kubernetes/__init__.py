"""Kubernetes objects: the manifests that Peitho writes, and the status that it reads."""
