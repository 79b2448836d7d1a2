"""What did the peer ask?  The Docker Engine API, spoken; no decision is made here."""
