"""Accelerators of every vendor: what is known of each, what makes nodes offer them, and a test that they work."""

from .efa_device_plugin import EfaDevicePlugin, EfaDevicePluginArgs
from .profiles import AcceleratorProfile, Owner, Vendor, covers, profile, profile_of
from .rules import Support, check_owners, driver_faults
from .sharing import sharing_labels
from .smoke_test import SmokeTest, SmokeTestArgs
from .support import AcceleratorSupport, AcceleratorSupportArgs, HostSoftwareArgs, PluginArgs

__all__ = [
    "AcceleratorProfile",
    "AcceleratorSupport",
    "AcceleratorSupportArgs",
    "EfaDevicePlugin",
    "EfaDevicePluginArgs",
    "HostSoftwareArgs",
    "Owner",
    "PluginArgs",
    "SmokeTest",
    "SmokeTestArgs",
    "Support",
    "Vendor",
    "check_owners",
    "covers",
    "driver_faults",
    "profile",
    "profile_of",
    "sharing_labels",
]
