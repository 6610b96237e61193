"""Who may read and who may write the models of one prefix of a bucket: two service accounts, each with a role of its own."""

from collections.abc import Callable
from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from components.base import PlatformComponent, labels
from components.inputs import InputText, Model, validate
from components.ordering import known_after
from components.security.pod_identity import PodIdentity
from components.security.policies import Statement
from components.storage.bucket_policies import reader_statements, writer_statements


class ModelBucketAccessArgs(TypedDict):
    """Inputs of `ModelBucketAccess`."""

    cluster_name: pulumi.Input[str]
    """Name of the EKS cluster; pods of no other can use the roles."""
    namespace_name: pulumi.Input[str]
    """Namespace of the servers and downloads."""
    bucket_arn: pulumi.Input[str]
    """The bucket."""
    kms_key_arn: pulumi.Input[str]
    """The key its objects are encrypted with."""
    prefix: str
    """Where the models of these accounts lie, e.g. `models/qwen`."""
    writes: NotRequired[bool]
    """Whether there is a writer; true by default."""


class _Config(Model):
    cluster_name: InputText
    namespace_name: InputText
    bucket_arn: InputText
    kms_key_arn: InputText
    prefix: str = Field(min_length=1, examples=["models/qwen"])
    writes: bool = True


class ModelBucketAccess(PlatformComponent):
    """A reader for servers and a writer for downloads, so that a server cannot change the weights that others load."""

    reader_name: pulumi.Output[str]
    """Service account of servers, known when it can read."""
    writer_name: pulumi.Output[str]
    """Service account of downloads, known when it can write; empty without one."""

    def __init__(self, name: str, args: ModelBucketAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = validate(_Config, args, f"ModelBucketAccess {name}")
        self.reader_name = self._account("reader", reader_statements)
        writer = self._account("writer", writer_statements) if self._config.writes else None
        self.writer_name = pulumi.Output.from_input(writer or "")
        self.finish()

    def _account(
        self, role: str, statements: Callable[[pulumi.Input[str], pulumi.Input[str], str], list[Statement]]
    ) -> pulumi.Output[str]:
        config = self._config
        account = kubernetes.core.v1.ServiceAccount(
            self.child_name(role),
            metadata={"namespace": config.namespace_name, "labels": labels("model-bucket", self._name, "storage")},
            automount_service_account_token=False,
            opts=self.child(),
        )
        identity = PodIdentity(
            self.child_name(role),
            {
                "cluster_name": config.cluster_name,
                "statements": statements(config.bucket_arn, config.kms_key_arn, config.prefix),
                "service_accounts": {
                    role: {
                        "namespace_name": config.namespace_name,
                        "service_account_name": account.metadata["name"],
                    }
                },
            },
            opts=self.child(),
        )
        return known_after(account.metadata["name"], identity.role_arn)
