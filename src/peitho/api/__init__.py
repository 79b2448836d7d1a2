"""What did the peer ask? The Docker Engine API: requests are parsed, answers are written."""
