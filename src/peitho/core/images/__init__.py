"""Chaincode images and base images: put together, published, used, removed."""
