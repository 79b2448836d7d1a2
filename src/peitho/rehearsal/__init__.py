"""
A peer's part, played against a running Peitho: what an operator tries before real peers do.

`walk` has the steps, `generations` how peers of an age speak; the rest is what they need. Nothing
of Peitho's own side is used: a rehearsal knows what a peer knows.
"""
