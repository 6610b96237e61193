"""Rehearsed hosts: real SSH servers over directory trees, with stand-ins for what would touch hardware or the internet."""

from sandbox.hosts.faults import Fault
from sandbox.hosts.lab import Address, CallRecord, HostStatus, Lab, LabStatus
from sandbox.hosts.spec import BASTION, HostSpec

__all__ = ["BASTION", "Address", "CallRecord", "Fault", "HostSpec", "HostStatus", "Lab", "LabStatus"]
