"""OCI registries: requests, uploads, accounts."""
