"""One Kubernetes cluster over HTTP: credentials by kr8s, discovery, and the few requests the provider makes."""

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sandbox.errors import SandboxError
from sandbox.providers.kubernetes.objects import Object, Type, name_of, namespace_of

_CONNECT_S: Final = 30.0
_READ_S: Final = 60.0
_OPENING: Final = threading.Lock()
_CONNECTIONS: Final = 16  # the API server answers in milliseconds: more connections only cost more bookkeeping
_RETRY_S: Final = 5.0  # how long a cluster that answered before may be away (an API server restarting)
_DOWN_S: Final = 10.0  # how long one failure to connect answers for the requests that follow it
_REDISCOVER_S: Final = 0.5  # how old a discovery document must be before a missing kind asks for a new one
_DISCOVERY: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
)
_APPLY: Final = "application/apply-patch+yaml"


class UnreachableError(SandboxError):
    """The API server cannot be reached, or there are no usable credentials for it."""


class ApiError(SandboxError):
    """The API server refused a request; `status` is its Status object."""

    def __init__(self, status: Mapping[str, Any], code: int) -> None:
        super().__init__(str(status.get("message") or f"HTTP {code}"))
        self.code = code
        self.reason = str(status.get("reason") or "")
        details = status.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        self.causes: list[dict[str, str]] = causes or []


@dataclass(frozen=True)
class Kind:
    """Where the API serves a kind."""

    path: str  # of the API version: /api/v1, /apis/apps/v1
    plural: str
    namespaced: bool

    def collection(self, namespace: str) -> str:
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.path}{scope}/{self.plural}"

    def item(self, obj: Mapping[str, Any]) -> str:
        return f"{self.collection(namespace_of(obj))}/{name_of(obj)}"


def parse_discovery(path: str, document: Mapping[str, Any]) -> dict[tuple[str, str], Kind]:
    """The kinds of an aggregated discovery document; `path` is /api or /apis."""
    found: dict[tuple[str, str], Kind] = {}
    for group in document.get("items", []):
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions", []):
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources", []):
                kind = resource.get("responseKind", {}).get("kind")
                if kind and "get" in resource.get("verbs", []):
                    entry = Kind(f"{path}/{api_version}", resource["resource"], resource.get("scope") == "Namespaced")
                    found.setdefault((api_version, kind), entry)
    return found


def parse_kubeconfig(text: str) -> dict[str, Any]:
    """The kubeconfig in a text.

    Raises:
        UnreachableError: it is not YAML, or not a kubeconfig.
    """
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise UnreachableError(f"the kubeconfig is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict) or not isinstance(document.get("contexts"), list) or not document["contexts"]:
        raise UnreachableError("the kubeconfig names no context, so there is no cluster to talk to")
    return document


def with_cluster(kubeconfig: dict[str, Any], context: str, cluster: str) -> dict[str, Any]:
    """A kubeconfig whose active context points at another of its clusters."""
    active = context or kubeconfig.get("current-context") or kubeconfig["contexts"][0]["name"]
    contexts = [
        {**entry, "context": {**entry["context"], "cluster": cluster}} if entry["name"] == active else entry
        for entry in kubeconfig["contexts"]
    ]
    return {**kubeconfig, "contexts": contexts}


class Cluster:
    """A connection; made on first use, so that a plugin starts without one."""

    def __init__(self, kubeconfig: dict[str, Any] | str | None, context: str = "") -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._auth: Any = None
        self._session: Any = None
        self._watches: Any = None
        self._connecting = asyncio.Lock()
        self._discovering = asyncio.Lock()
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._discovered_at = 0.0
        self._answered = False
        self._down: UnreachableError | None = None
        self._down_at = 0.0
        self.server = ""
        self.namespace = "default"

    async def connect(self) -> None:
        """Load the credentials; no request is made yet.

        Raises:
            UnreachableError: there are none, or they do not make sense.
        """
        async with self._connecting:
            if self._session is None:
                await self._open()

    async def _open(self) -> None:
        import httpx  # noqa: PLC0415  (0.5 s of imports the engine need not wait for when it starts the plugin)
        from kr8s._auth import KubeAuth  # noqa: PLC0415

        try:
            self._auth = self._auth or KubeAuth(kubeconfig=self._kubeconfig, context=self._context or None)
            # kr8s writes certificates and keys given inline into files: keep them no longer than it takes to load them.
            # The folder is the whole process's, so one client opens at a time, in whichever thread or loop.
            await asyncio.to_thread(_OPENING.acquire)
            try:
                with tempfile.TemporaryDirectory(prefix="kubeconfig-") as folder:
                    usual, tempfile.tempdir = tempfile.tempdir, folder
                    try:
                        await self._auth
                        tls = await self._auth.ssl_context()
                    finally:
                        tempfile.tempdir = usual
            finally:
                _OPENING.release()
        except Exception as error:
            raise UnreachableError(f"the kubeconfig cannot be used: {_sentence(error)}") from error
        self.server = self._auth.server.rstrip("/")
        self.namespace = self._auth.namespace
        shared = {
            "base_url": self.server,
            "headers": {"Authorization": f"Bearer {self._auth.token}"} if self._auth.token else {},
            "verify": tls,
            "proxy": self._auth.proxy,
            "trust_env": not _is_loopback(self.server),
        }
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        self._session = httpx.AsyncClient(**shared, timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S, pool=None), limits=limits)
        # A watch holds its connection for as long as it lasts, and there may be hundreds: a pool of their own, without limit.
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._watches = httpx.AsyncClient(**shared, timeout=None, limits=unlimited)  # noqa: S113

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON answer to one request.

        Raises:
            ApiError: the server refused it.
            UnreachableError: no answer (after a few seconds of trying, if the server answered before).
        """
        if self._down and time.monotonic() - self._down_at < _DOWN_S:
            raise self._down
        await self.connect()
        content = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        give_up = time.monotonic() + _RETRY_S
        pause, renewed = 0.1, False
        while True:
            try:
                response = await self._session.request(
                    method, path, params=params, content=content, headers=sent, extensions=self._extensions()
                )
            except Exception as error:
                if not _is_transport(error):
                    raise
                if not self._answered or time.monotonic() > give_up:
                    self._down = UnreachableError(
                        f"the Kubernetes API server {self.server} cannot be reached: {_sentence(error)}"
                    )
                    self._down_at = time.monotonic()
                    raise self._down from error
            else:
                self._answered = True
                if response.status_code == 401 and not renewed:
                    renewed = True
                    await self._renew()
                    continue
                if response.status_code not in (429, 503) or time.monotonic() > give_up:
                    return _result(response)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    def _extensions(self) -> dict[str, str]:
        return {"sni_hostname": self._auth.tls_server_name} if self._auth.tls_server_name else {}

    async def _renew(self) -> None:
        """New credentials from the exec plugin or the file: the old ones may have expired."""
        async with self._connecting:
            old = self._session  # the watches end by themselves when the server ends them, and are opened anew
            await self._open()
            await old.aclose()

    async def kind(self, of: Type) -> Kind | None:
        """Where a type is served; None when the cluster does not know it."""
        key = (of.api_version, of.kind)
        if key not in self._kinds:
            asked = time.monotonic()
            async with self._discovering:
                if key not in self._kinds and self._discovered_at < asked - _REDISCOVER_S * bool(self._kinds):
                    core, groups = await asyncio.gather(
                        self.request("GET", "/api", headers={"Accept": _DISCOVERY}),
                        self.request("GET", "/apis", headers={"Accept": _DISCOVERY}),
                    )
                    self._kinds = parse_discovery("/api", core) | parse_discovery("/apis", groups)
                    self._discovered_at = time.monotonic()
        return self._kinds.get(key)

    async def get(self, kind: Kind, obj: Mapping[str, Any]) -> Object | None:
        """The live object, or None when there is none."""
        try:
            return dict(await self.request("GET", kind.item(obj)))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def apply(self, kind: Kind, obj: Object, manager: str, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply."""
        params = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        if dry_run:
            params["dryRun"] = "All"
        return dict(await self.request("PATCH", kind.item(obj), params=params, body=obj, headers={"Content-Type": _APPLY}))

    async def try_create(self, kind: Kind, obj: Object, namespace: str) -> None:
        """A creation the server checks in full and does not carry out."""
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        await self.request("POST", kind.collection(namespace), params=params, body=obj)

    async def list(self, of: Type, namespace: str, **selectors: str) -> list[Object]:
        """The objects of a type in a namespace (fieldSelector, labelSelector); none where the cluster lacks the type."""
        kind = await self.kind(of)
        if kind is None:
            return []
        answer = await self.request("GET", kind.collection(namespace), params=selectors)
        return [{"apiVersion": of.api_version, "kind": of.kind, **item} for item in answer.get("items") or []]

    async def signal_changes(self, path: str, selectors: Mapping[str, str], changed: asyncio.Event) -> None:
        """Set the event at every change in a collection, until cancelled; a watch that breaks is opened again."""
        await self.connect()
        while True:
            try:
                params = {**selectors, "watch": "true", "allowWatchBookmarks": "false"}
                extensions = self._extensions()
                async with self._watches.stream("GET", path, params=params, extensions=extensions) as response:
                    if response.status_code != 200:
                        await asyncio.sleep(1.0)
                        continue
                    changed.set()  # whatever happened before the watch was open is seen now
                    async for _line in response.aiter_lines():
                        changed.set()
            except Exception as error:
                if not _is_transport(error):
                    raise
                await asyncio.sleep(0.25)
            changed.set()


def _result(response: Any) -> Any:
    try:
        answer = response.json()
    except ValueError:
        answer = {"message": response.text.strip()[:300]}
    if response.status_code >= 400:
        raise ApiError(answer if isinstance(answer, dict) else {}, response.status_code)
    return answer


def _is_transport(error: Exception) -> bool:
    import httpx  # noqa: PLC0415

    return isinstance(error, httpx.TransportError)


def _is_loopback(server: str) -> bool:
    return any(f"//{host}" in server for host in ("127.", "localhost", "[::1]"))


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
