"""What the objects of simulated nodes say of their machines beside what Kubernetes has fields for. Values are JSON."""

DEVICES = "sandbox.llm-platform/devices"
"""Devices that wait for their device plugin: resource name to count."""
ACCELERATOR = "sandbox.llm-platform/accelerator"
"""The accelerators, as a stack file declares them."""
MIG = "sandbox.llm-platform/mig"
"""What the GPUs of the node are cut into: MIG profile to number of instances; nothing for whole GPUs."""
