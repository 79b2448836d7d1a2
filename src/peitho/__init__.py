"""Answers Fabric peers' Docker Engine API calls, and puts Kubernetes underneath."""

__version__ = "0.1.0"
