"""What sizes FSx for Lustre sells. Pure."""

_SMALLEST, _STEP = 1200, 2400
"""GiB (FSx API, CreateFileSystem: StorageCapacity of PERSISTENT_2 on SSD)."""

THROUGHPUTS = (125, 250, 500, 1000)
"""MB/s for each TiB (FSx API, CreateFileSystemLustreConfiguration: PerUnitStorageThroughput of PERSISTENT_2)."""

_EFA_STEP = {125: 38400, 250: 19200, 500: 9600, 1000: 4800}
"""GiB that one file server with EFA holds, by throughput (FSx for Lustre user guide, "Step 1: Create your FSx for Lustre file
system"): such file systems come in whole servers."""


def check_capacity(capacity_gib: int, throughput: int, efa: bool) -> None:
    """Raise ValueError unless FSx sells a file system of that size, at that throughput per TiB."""
    if throughput not in THROUGHPUTS:
        raise ValueError(f"throughput {throughput} MB/s per TiB is not sold; use {', '.join(map(str, THROUGHPUTS))}")
    if efa:
        step = _EFA_STEP[throughput]
        if capacity_gib <= 0 or capacity_gib % step:
            raise ValueError(
                f"{capacity_gib} GiB with EFA at {throughput} MB/s per TiB is not sold: a server holds {step} GiB; "
                f"use {_next(capacity_gib, step)}"
            )
    elif capacity_gib != _SMALLEST and (capacity_gib <= 0 or capacity_gib % _STEP):
        larger = _SMALLEST if capacity_gib < _SMALLEST else _next(capacity_gib, _STEP)
        raise ValueError(f"{capacity_gib} GiB is not sold, only {_SMALLEST} and multiples of {_STEP}; use {larger}")


def _next(capacity_gib: int, step: int) -> int:
    return max(1, -(-capacity_gib // step)) * step
