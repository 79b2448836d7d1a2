"""What builds and chaincode share about Pods: waiting for them, templates, tokens."""
