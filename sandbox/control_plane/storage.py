"""The storage class that small clusters bring: volumes that are directories of a node."""

from sandbox.control_plane.api import Api


def offer(api: Api, name: str) -> None:
    """Makes a class of that name be there, as the cluster's default.

    kind calls it `standard` (kubernetes-sigs/kind, images/base/files/kind/manifests), k3s `local-path` (k3s-io/k3s,
    manifests/local-storage.yaml). Raises SandboxError with what the API server said.
    """
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    api.apply(f"/apis/storage.k8s.io/v1/storageclasses/{name}", storage_class)
