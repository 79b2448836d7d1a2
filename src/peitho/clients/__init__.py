"""How do we say it to the outside? Kubernetes, registries, a Docker daemon, the disk."""
