"""The rehearsal platform: the program of this repository, run by the real Pulumi engine against a real Kubernetes
control plane with simulated nodes. Nothing under components/ or planner/ may import it."""

import gc

# Its processes live for seconds and keep nearly all they make: to look through it at Python's pace costs a third of their time.
gc.set_threshold(50_000, 20, 100)
