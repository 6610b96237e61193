"""What AWS does not do at once: a thing is `pending` or `creating` for a moment, and `deleting` for another before it is gone.

Moto makes and deletes at once; the methods of its backends that do so are replaced here by ones that take their time.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from moto.ec2.models import EC2Backend
from moto.efs.models import EFSBackend
from moto.fsx.models import FSxBackend

SETTLE_S = 0.3
"""How long every such state lasts; in AWS it is seconds (endpoints) to many minutes (file systems of FSx)."""


class Transitions:
    """What will happen to moto's memory, in order. It happens when somebody asks: `settle` runs before every call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: list[tuple[float, Callable[[], object]]] = []

    def later(self, act: Callable[[], object]) -> None:
        """Do something when SETTLE_S have passed."""
        with self._lock:
            self._due.append((time.monotonic() + SETTLE_S, act))

    def settle(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        with self._lock:
            ripe = [act for at, act in self._due if at <= now]
            self._due = [entry for entry in self._due if entry[0] > now]
        for act in ripe:
            act()


def install(transitions: Transitions) -> None:
    """Makes moto's backends of this process take their time."""
    _nat_gateways(transitions)
    _endpoints(transitions)
    _efs(transitions)
    _fsx(transitions)


def _nat_gateways(transitions: Transitions) -> None:
    create = EC2Backend.create_nat_gateway

    def created(backend: Any, *arguments: Any, **named: Any) -> Any:
        gateway = create(backend, *arguments, **named)
        _set_later(transitions, gateway, "state", "pending", "available")
        return gateway

    def deleted(backend: Any, nat_gateway_id: str) -> Any:
        gateway = backend.nat_gateways[nat_gateway_id]
        gateway.state = "deleting"
        transitions.later(lambda: _delete_nat_gateway(backend, gateway))
        return gateway

    EC2Backend.create_nat_gateway, EC2Backend.delete_nat_gateway = created, deleted


def _delete_nat_gateway(backend: Any, gateway: Any) -> None:
    """Its interface goes with it and its address becomes free, which moto forgets."""
    gateway.state = "deleted"
    backend.enis.pop(gateway._eni.id, None)
    for address in backend.addresses:
        if address.eni is gateway._eni:
            backend.disassociate_address(association_id=address.association_id)


def _endpoints(transitions: Transitions) -> None:
    create, delete = EC2Backend.create_vpc_endpoint, EC2Backend.delete_vpc_endpoints

    def created(backend: Any, *arguments: Any, **named: Any) -> Any:
        endpoint = create(backend, *arguments, **named)
        if (endpoint.vpc_endpoint_type or "Gateway") != "Gateway":
            _set_later(transitions, endpoint, "state", "pending", "available")
        return endpoint

    def deleted(backend: Any, vpce_ids: list[str]) -> None:
        for identifier in vpce_ids:
            backend.vpc_end_points[identifier].state = "deleting"

        def gone() -> None:
            delete(backend, vpce_ids)
            for identifier in vpce_ids:
                backend.vpc_end_points.pop(identifier, None)

        transitions.later(gone)

    EC2Backend.create_vpc_endpoint, EC2Backend.delete_vpc_endpoints = created, deleted


def _efs(transitions: Transitions) -> None:
    for what, deletion in (("file_system", EFSBackend.delete_file_system), ("mount_target", EFSBackend.delete_mount_target)):
        _creation(EFSBackend, f"create_{what}", transitions, "life_cycle_state", "creating", "available")
        _deletion(EFSBackend, f"delete_{what}", deletion, transitions, f"{what}s_by_id")


def _creation(backend: type, method: str, transitions: Transitions, attribute: str, before: str, after: str) -> None:
    create = getattr(backend, method)

    def created(self: Any, *arguments: Any, **named: Any) -> Any:
        made = create(self, *arguments, **named)
        _set_later(transitions, made, attribute, before, after)
        return made

    setattr(backend, method, created)


def _deletion(backend: type, method: str, delete: Callable[..., Any], transitions: Transitions, memory: str) -> None:
    def deleted(self: Any, identifier: str) -> None:
        made = getattr(self, memory).get(identifier)
        if made is None or (hasattr(made, "number_of_mount_targets") and made.number_of_mount_targets):
            delete(self, identifier)  # which refuses it
        else:
            made.life_cycle_state = "deleting"
            transitions.later(lambda: delete(self, identifier) if identifier in getattr(self, memory) else None)

    setattr(backend, method, deleted)


def _fsx(transitions: Transitions) -> None:
    delete = FSxBackend.delete_file_system
    _creation(FSxBackend, "create_file_system", transitions, "lifecycle", "CREATING", "AVAILABLE")

    def deleted(self: Any, file_system_id: str, *arguments: Any, **named: Any) -> Any:
        system = self.file_systems.get(file_system_id)
        answer = delete(self, file_system_id, *arguments, **named)
        system.lifecycle = "DELETING"
        self.file_systems[file_system_id] = system
        transitions.later(lambda: self.file_systems.pop(file_system_id, None))
        return answer

    FSxBackend.delete_file_system = deleted


def _set_later(transitions: Transitions, made: Any, attribute: str, before: str, after: str) -> None:
    setattr(made, attribute, before)

    def settled() -> None:
        if getattr(made, attribute) == before:  # and not being deleted by now
            setattr(made, attribute, after)

    transitions.later(settled)
