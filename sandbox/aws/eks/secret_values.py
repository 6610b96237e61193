"""What a pod reads from Secrets Manager and the Parameter Store, with the role its service account has by Pod Identity.

Policies are judged by actions and resources alone; conditions, and keys that encrypt, are not looked at.
"""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

from moto.core.exceptions import JsonRESTError

from sandbox.aws.backends import Backends
from sandbox.aws.eks.errors import EksError
from sandbox.aws.eks.store import Store
from sandbox.aws.eks.wire import Parameters

ROUTE: Final = "/_eks/secret-value"
_ACTIONS: Final = {"SecretsManager": "secretsmanager:GetSecretValue", "ParameterStore": "ssm:GetParameter"}


class SecretValues:
    """The private route."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, parameters: Parameters) -> Parameters:
        """The value; raises EksError with the words of the operator, or of AWS."""
        service, name = parameters["service"], parameters["name"]
        role = self._role(parameters)
        aws = Backends(parameters["region"])
        if service == "SecretsManager":
            return {"value": self._secret(aws, role, name)}
        return {"value": self._parameter(aws, role, name)}

    def _role(self, parameters: Parameters) -> Any:
        cluster = self._store.cluster(parameters["clusterName"])
        for association in cluster.associations.values():
            if all(association[part] == parameters[part] for part in ("namespace", "serviceAccount")):
                return self._store.world.role(association["roleArn"])
        raise EksError(
            "AccessDeniedException",
            "unable to create session: get identity: get credentials: failed to refresh cached credentials, "
            "no EC2 IMDS role found",
        )

    def _secret(self, aws: Backends, role: Any, name: str) -> str:
        found = aws.secretsmanager.secrets.get(name)
        self._require(role, "SecretsManager", found.arn if found else self._arn("secretsmanager", f"secret:{name}-??????"), name)
        if found is None:
            raise EksError("ResourceNotFoundException", "Secret does not exist")
        return str(aws.secretsmanager.get_secret_value(name, "", "AWSCURRENT")["SecretString"])

    def _parameter(self, aws: Backends, role: Any, name: str) -> str:
        self._require(role, "ParameterStore", self._arn("ssm", f"parameter/{name.removeprefix('/')}"), name)
        try:
            found = aws.ssm.get_parameter(name)
        except JsonRESTError:
            found = None
        if found is None:
            raise EksError("ParameterNotFound", "Secret does not exist")
        return str(found.response_object(decrypt=True)["Value"])

    def _require(self, role: Any, service: str, resource: str, name: str) -> None:
        action = _ACTIONS[service]
        if role is None or not allows(map(json.loads, role.policies.values()), action, resource):
            session = f"arn:aws:sts::{self._store.world.account}:assumed-role/{role.name if role else 'none'}/eks"
            raise EksError(
                "AccessDeniedException",
                f"api error AccessDeniedException: User: {session} is not authorized to perform: {action} on resource: {name} "
                f"because no identity-based policy allows the {action} action",
            )

    def _arn(self, service: str, resource: str) -> str:
        world = self._store.world
        return f"arn:aws:{service}:{world.region}:{world.account}:{resource}"


def allows(documents: Iterable[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether policies let somebody do that; what denies goes before."""
    statements = [each for document in documents for each in _listed(document["Statement"])]
    meant = [
        each
        for each in statements
        if any(fnmatchcase(action.lower(), wanted.lower()) for wanted in _listed(each.get("Action", ())))
        and any(fnmatchcase(resource, wanted.replace("[", "[[]")) for wanted in _listed(each.get("Resource", ())))
    ]
    return bool(meant) and all(each["Effect"] == "Allow" for each in meant)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
