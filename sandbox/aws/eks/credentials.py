"""What `aws eks get-token` needs here: a short-lived client certificate for the caller, in place of a signed token."""

import datetime

from sandbox.aws.eks import bindings
from sandbox.aws.eks.errors import EksError, not_found
from sandbox.aws.eks.store import Cluster, Store
from sandbox.aws.eks.wire import ACCESS_KEY, Parameters

ROUTE = "/_eks/credentials"
VALIDITY = datetime.timedelta(minutes=15)
"""As long as a token of EKS is good (aws-iam-authenticator, token.go)."""

_SESSION = "EKSGetTokenAuth"


class Credentials:
    """The private route."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def issue(self, parameters: Parameters) -> Parameters:
        """Certificate and key, PEM, and when they expire, for the signer or the role it names.

        A principal without an access entry gets those of a user with no rights: the API server refuses what EKS would refuse.
        """
        store, cluster = self._store, self._store.active_cluster(parameters["clusterName"])
        if role := parameters.get("roleArn"):
            if store.world.role(role) is None:
                raise EksError("AccessDeniedException", f"The role {role} cannot be assumed: it does not exist.")
            principal, session = role, _SESSION
        else:
            principal, session = store.world.caller(ACCESS_KEY.get())
        if "endpoint" not in cluster.shape:
            raise not_found(f"The cluster {cluster.name} has no endpoint yet.")
        user, groups = _identity(cluster, principal, session)
        bindings.synchronise(cluster)  # namespaces of a policy's scope may have come since
        certificate, key = cluster.plane.pki.issue(user, groups, VALIDITY)
        expires = datetime.datetime.now(datetime.UTC) + VALIDITY
        return {
            "certificate": certificate.decode(),
            "key": key.decode(),
            "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def _identity(cluster: Cluster, principal: str, session: str) -> tuple[str, list[str]]:
    """User name and groups in the cluster."""
    entry = cluster.entries.get(principal)
    if entry is None:
        return principal, []
    user = entry.shape["username"].replace("{{SessionName}}", session.replace("@", "-"))
    return user, [*entry.shape["kubernetesGroups"], bindings.group_of(principal)]
