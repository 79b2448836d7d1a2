"""
What tests share: doubles, parts of Peitho put together, and data as others send it.

Doubles stand for what Peitho speaks to, on loopback: `kubernetes_double`, `docker_double`,
`registry_double`, `serving` (Peitho itself, for what runs in Pods), `loopback` (anything else).
`in_process` is Peitho before such a cluster; `sweeps`, `launches`, `build_pool`, `build_pods` and
`build_daemon` are Peitho in the middle of something.  `quick_time` is the clock of the unit tests.
`docker_calls`, `wire` and `observe` speak to a whole Peitho and its cluster.  The rest are
archives, manifests, names and settings, and how they are read.

A part is here as soon as two files use it: nothing is imported from a test module
(tests/unit/test_layout.py looks).  What builds and runs real things (cluster, dockerd, registry,
peers) is in tests/lab.
"""
