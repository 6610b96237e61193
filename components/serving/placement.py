"""Where the accelerators of one replica are: on one node, or evenly on several. Pure functions."""

from ..types import NodePool


def nodes_of_replica(accelerators: int, pool: NodePool) -> int:
    """Nodes one replica spans."""
    return -(-accelerators // _per_node(pool))


def check_one_replica(tensor: int, pipeline: int, data: int, pool: NodePool) -> None:
    """Raise ValueError when one replica cannot be put on the pool's nodes."""
    per_node = _per_node(pool)
    accelerators = tensor * pipeline * data
    if accelerators > 1 and pool.accelerator and pool.accelerator.sharing:
        raise ValueError(
            f"parallelism: pool {pool.name} shares its accelerators ({pool.accelerator.sharing.kind}), and parts of them do not "
            "work together; use one for a replica, or a pool without sharing"
        )
    if tensor > per_node:
        raise ValueError(
            f"parallelism.tensor: {tensor} accelerators must share a node, but nodes of pool {pool.name} have {per_node}; "
            f"use parallelism.tensor: {per_node} and parallelism.pipeline: {-(-accelerators // per_node)}, or larger nodes"
        )
    nodes = nodes_of_replica(accelerators, pool)
    if nodes > 1 and accelerators % per_node:
        raise ValueError(
            f"parallelism: {accelerators} accelerators are no whole number of nodes of pool {pool.name}, which have {per_node}; "
            f"use tensor x pipeline x data = {nodes * per_node}"
        )
    if nodes > 1 and data > 1 and (pipeline > 1 or data % nodes):
        raise ValueError(
            f"parallelism.data: {data} copies in {pipeline} stages cannot be spread over {nodes} nodes; "
            f"use either stages (data: 1) or copies (pipeline: 1 and data a multiple of {nodes})"
        )
    if nodes > pool.max_nodes:
        raise ValueError(
            f"parallelism: one replica needs {nodes} nodes and pool {pool.name} grows to {pool.max_nodes}; "
            f"use maxNodes: {nodes} or fewer accelerators"
        )


def _per_node(pool: NodePool) -> int:
    if pool.accelerator is None:
        raise ValueError(f"nodePool: pool {pool.name} has no accelerators; use a pool that has some")
    return pool.accelerator.units
