"""The catalogue: hardware as data with sources, in the YAML files of this folder."""

from planner.catalog.hardware import (
    Accelerator,
    InstanceType,
    Price,
    UnknownAcceleratorError,
    UnknownInstanceTypeError,
    accelerator,
    accelerators,
    instance_type,
    instance_types,
    on_demand_price,
)

__all__ = [
    "Accelerator",
    "InstanceType",
    "Price",
    "UnknownAcceleratorError",
    "UnknownInstanceTypeError",
    "accelerator",
    "accelerators",
    "instance_type",
    "instance_types",
    "on_demand_price",
]
