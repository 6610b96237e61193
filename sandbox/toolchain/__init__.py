"""The programs a rehearsal runs (the Pulumi engine, a Kubernetes control plane, simulated nodes): found, or made once per user.

    paths = ensure()          # binary -> path, in the order PATH, cache, official download, mirror, Go modules
    find("etcd")              # where it is now, or None; makes nothing
    doctor_table()            # what this machine has and lacks

Versions, addresses and checksums are in tools.yaml; the layout of the cache is described in storage.py, that of an air-gap mirror
in mirror.py.
"""

from sandbox.toolchain.doctor import Row, doctor, doctor_table
from sandbox.toolchain.ensure import ALL, HOSTS, REHEARSAL, ensure
from sandbox.toolchain.find import Found, find

__all__ = ["ALL", "HOSTS", "REHEARSAL", "Found", "Row", "doctor", "doctor_table", "ensure", "find"]
