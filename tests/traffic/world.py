"""A gateway with one route to two versions of a model: from their settings to what answers on loopback."""

import itertools
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.routing.config import GatewayArgs, GatewayConfig, Implementation
from components.routing.envoy_gateway import gateway_objects, route_objects
from components.routing.route_config import RouteArgs, RouteConfig
from tests.traffic.certificates import pair, serving, trusting
from tests.traffic.client import Reply, request, send
from tests.traffic.engine import Engine, Seen, Turn, engine
from tests.traffic.envoy import Proxy, proxy
from tests.traffic.objects import GATEWAY, MODELS, namespace, secret, service
from tests.traffic.resources import LOOPBACK, Address, Places
from tests.traffic.translation import Object

HOST: Final = "chat.example.com"
V1, V2 = "qwen-v1", "qwen-v2"
IDENTITY: Final = "id.example.com"
KEY: Final = "sk-of-team-a"
_ADDRESSES: Final = {V1: "10.96.0.11", V2: "10.96.0.12"}
_CERTIFICATE: Final = pair([HOST, IDENTITY])
Changes = Mapping[str, Any]
UNCHANGED: Final[Changes] = {}
_GATEWAY: Final[GatewayArgs] = {
    "namespace_name": GATEWAY,
    "model_namespaces": [MODELS],
    "hosts": [HOST],
    "tls_secret_name": "certificate",
    "auth": {"api_key_secret_name": "keys"},
}
_ROUTE: Final[RouteArgs] = {
    "route_name": "chat",
    "namespace_name": MODELS,
    "gateway": {"name": "gateway", "namespace_name": GATEWAY, "implementation": Implementation.ENVOY_GATEWAY, "tls": True},
    "host": HOST,
    "versions": {V1: {"weight": 100}},
}


@dataclass
class World:
    """What runs."""

    proxy: Proxy
    versions: Mapping[str, tuple[Engine, ...]]
    """Replicas."""
    identity: Engine
    """Who says with which keys tokens are signed."""
    nobody: Address
    """A port that is taken, and where nobody listens."""
    _served: tuple[Any, ...] = ()
    _address: Address = ("", 0)

    def serve(self, route: Changes = UNCHANGED, gateway: Changes = UNCHANGED, dead: Collection[Engine] = ()) -> None:
        """Makes route and gateway what they are usually, with these changes; nothing listens where `dead` replicas were."""
        wanted = (repr(route), repr(gateway), [each.address for each in dead])
        if wanted == self._served:
            return
        made = objects_of(GatewayConfig.model_validate({**_GATEWAY, **gateway}), RouteConfig.model_validate({**_ROUTE, **route}))
        replicas = {
            _ADDRESSES[name]: [self.nobody if each in dead else each.address for each in engines]
            for name, engines in self.versions.items()
        }
        outside = {IDENTITY: self.identity.address}
        self.proxy.apply(made, Places(replicas, outside, _CERTIFICATE["tls.crt"]))
        self._address = self.proxy.address(443)
        self._served = wanted

    def ask(self, path: str = "/v1/models", host: str = HOST, key: str | None = KEY, **more: Any) -> Reply:
        """An answer to a request of somebody with a key."""
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        return self.send(request(path, host, headers=headers, **more))

    def send(self, raw: bytes) -> Reply:
        """The answer to these bytes."""
        return send(self.address, raw, self.trust, HOST)

    @property
    def trust(self) -> ssl.SSLContext:
        """A client that believes the gateway's certificate."""
        return trusting(_CERTIFICATE["tls.crt"])

    @property
    def address(self) -> Address:
        """Where the gateway answers."""
        return self._address

    @property
    def seen(self) -> list[Seen]:
        """What reached any engine."""
        return [each for replica in self._replicas() for each in replica.seen]

    def forget(self) -> None:
        """All engines are as they were."""
        for replica in self._replicas():
            replica.reset()

    def all_answer(self, answer: Callable[[Turn], None]) -> None:
        """From now on all engines do this."""
        for replica in self._replicas():
            replica.answer = answer

    def _replicas(self) -> Iterator[Engine]:
        return itertools.chain.from_iterable(self.versions.values())


def objects_of(gateway: GatewayConfig, route: RouteConfig) -> list[Object]:
    """Everything that is in a cluster for these."""
    return [
        *map(namespace, (GATEWAY, MODELS)),
        *(service(name, address) for name, address in _ADDRESSES.items()),
        secret("certificate", _CERTIFICATE, "kubernetes.io/tls"),
        secret("keys", {"team-a": KEY}),
        *gateway_objects(gateway, "gateway").values(),
        *route_objects(route).values(),
    ]


@contextmanager
def world(egctl: Path, folder: Path) -> Iterator[World]:
    """Two replicas of the first version, one of the second, and a gateway that is told later what to be."""
    with ExitStack() as stack:
        first = (stack.enter_context(engine(V1)), stack.enter_context(engine(V1)))
        second = (stack.enter_context(engine(V2)),)
        made = stack.enter_context(proxy(egctl, folder))
        taken = stack.enter_context(socket.socket())
        taken.bind((LOOPBACK, 0))
        identity = stack.enter_context(engine(IDENTITY, serving(_CERTIFICATE)))
        yield World(made, {V1: first, V2: second}, identity, taken.getsockname())
