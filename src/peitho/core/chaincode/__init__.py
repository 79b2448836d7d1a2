"""Chaincode containers (created with a name): their process, its log and its exit."""
