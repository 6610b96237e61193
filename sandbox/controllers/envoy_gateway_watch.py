"""The part of a cluster that Envoy Gateway looks at: all namespaces, those it is given, or those with certain labels.

After envoyproxy/gateway v1.9.0 internal/provider/kubernetes (kubernetes.go, namespace_selector_client.go).
"""

from collections.abc import Mapping
from typing import Any, Final

from sandbox.controllers.cluster import Cluster
from sandbox.controllers.gateway_api import selects

_EVERYWHERE: Final = frozenset({"classes", "namespaces", "nodes"})
_ALSO_OWN: Final = frozenset({"services", "slices", "secrets", "config_maps"})
"""Where proxies are: in the controller's namespace as well, watched or not."""


class Watched:
    """Objects by collection, as `Cluster` has them, without those of other namespaces."""

    def __init__(self, cluster: Cluster, watch: Mapping[str, Any], own: str) -> None:
        self._cluster, self._own = cluster, own
        self._namespaces: frozenset[str] | None = None
        if watch.get("type") == "Namespaces" and watch.get("namespaces"):
            self._namespaces = frozenset(watch["namespaces"])
        elif watch.get("type") == "NamespaceSelector" and (selector := watch.get("namespaceSelector")):
            found = (each["metadata"] for each in cluster.all("namespaces"))
            self._namespaces = frozenset(each["name"] for each in found if selects(selector, each.get("labels") or {}))

    def all(self, collection: str) -> list[dict[str, Any]]:
        """The objects of a collection, in the order of their names."""
        found = self._cluster.all(collection)
        if self._namespaces is None or collection in _EVERYWHERE:
            return found
        seen = self._namespaces | ({self._own} if collection in _ALSO_OWN else set())
        return [each for each in found if each["metadata"]["namespace"] in seen]

    def find(self, collection: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object by its name."""
        wanted = (namespace, name)
        return next((e for e in self.all(collection) if (e["metadata"]["namespace"], e["metadata"]["name"]) == wanted), None)
