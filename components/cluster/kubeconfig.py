"""Pure reading of kubeconfigs: one context cut out of the file, and what identifies the cluster behind it."""

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Any

import yaml

from ..inputs import InputError


def kubeconfig_path() -> Path:
    """The kubeconfig that kubectl would read: the first file of KUBECONFIG, else ~/.kube/config."""
    first = next((entry for entry in os.environ.get("KUBECONFIG", "").split(os.pathsep) if entry), None)
    return Path(first) if first else Path.home() / ".kube" / "config"


def read_context(path: Path, context: str, where: str) -> str:
    """The content of a kubeconfig that holds only `context` of the file at `path`, with its certificate files inlined.

    `where` names the setting that chose the context. Raises InputError when the file or the context is not there.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(
            f"{where}: {context!r} needs a kubeconfig, but {path} cannot be read ({error.strerror}); "
            f"set KUBECONFIG to a file that has this context"
        ) from None
    content = _mapping(text, f"{where}: the kubeconfig {path}")
    contexts = {entry["name"]: entry["context"] for entry in content.get("contexts") or []}
    if context not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        raise InputError(
            f"{where}: {context!r} is not a context of the kubeconfig {path}; "
            f"use one of: {known}, or set KUBECONFIG to another file"
        )
    chosen = contexts[context]
    cluster = _named(content.get("clusters"), chosen.get("cluster"), "cluster")
    user = _named(content.get("users"), chosen.get("user"), "user")
    alone = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": chosen}],
        "clusters": [{"name": chosen.get("cluster"), "cluster": _inlined(cluster, path, ("certificate-authority",))}],
        "users": [{"name": chosen.get("user"), "user": _inlined(user, path, ("client-certificate", "client-key"))}],
    }
    return yaml.safe_dump(alone, sort_keys=False)


def cluster_identity(kubeconfig: str) -> str:
    """Twelve hexadecimal digits that change exactly when the cluster behind the current context is another one.

    They come from the cluster's certificate authority, which outlives address changes; from the address where none is given.
    """
    content = _mapping(kubeconfig, "the kubeconfig")
    current = _named(content.get("contexts"), content.get("current-context"), "context")
    cluster = _named(content.get("clusters"), current.get("cluster"), "cluster")
    authority = cluster.get("certificate-authority-data")
    try:
        source = base64.b64decode(authority, validate=True) if authority else str(cluster.get("server", "")).encode()
    except binascii.Error:
        raise InputError("the kubeconfig: certificate-authority-data is not base64; write the PEM file through base64") from None
    return hashlib.sha256(source).hexdigest()[:12]


def check_kubeconfig(kubeconfig: str) -> None:
    """Raise InputError unless the text is a kubeconfig that holds its current context's cluster and user."""
    content = _mapping(kubeconfig, "the kubeconfig")
    current = _named(content.get("contexts"), content.get("current-context"), "context")
    for kind in ("cluster", "user"):
        _named(content.get(f"{kind}s"), current.get(kind), kind)


def _mapping(text: str, what: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{what} is not a kubeconfig; `kubectl config view` shows what one looks like")
    return content


def _named(entries: Any, name: Any, kind: str) -> dict[str, Any]:
    for entry in entries or []:
        if entry.get("name") == name:
            return dict(entry.get(kind) or {})
    raise InputError(
        f"the kubeconfig names the {kind} {name!r} but does not hold it; `kubectl config view --flatten` writes a whole one"
    )


def _inlined(entry: dict[str, Any], path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """`entry` with the files it names read into `<key>-data`, so that it works on another machine."""
    for key in keys:
        file = entry.pop(key, None)
        if file and f"{key}-data" not in entry:
            try:
                entry[f"{key}-data"] = base64.b64encode((path.parent / file).read_bytes()).decode()
            except OSError as error:
                raise InputError(f"the kubeconfig {path} names {key}: {file}, which cannot be read ({error.strerror})") from None
    return entry
