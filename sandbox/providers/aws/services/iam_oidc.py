"""IAM: providers of OpenID Connect, whose tokens stand for principals."""

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import Operation, ServiceAdapter, retag, tag_list, tag_map, tag_values
from sandbox.providers.contract import ProviderError

_SCHEME = "https://"


class OpenIdConnectProvider(ServiceAdapter):
    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    service = "iam"
    replaces = frozenset(("url",))

    def make(self, op: Operation) -> str:
        url = str(op.values["url"])
        if not url.startswith(_SCHEME):
            # docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
            raise ProviderError(f"CreateOpenIDConnectProvider: InvalidInput: the URL must begin with {_SCHEME}")
        answer = op.client.create_open_id_connect_provider(
            Url=url,
            ClientIDList=op.values["clientIdLists"],
            ThumbprintList=op.values.get("thumbprintLists") or [],
            Tags=tag_list(op.tags),
        )
        return str(answer["OpenIDConnectProviderArn"])

    def look(self, op: Operation) -> Values:
        found = op.client.get_open_id_connect_provider(OpenIDConnectProviderArn=op.id)
        return {
            "arn": op.id,
            # IAM tells it without its scheme; the official provider takes both for one.
            "url": op.values.get("url") if op.values.get("url") == f"{_SCHEME}{found['Url']}" else found["Url"],
            "clientIdLists": sorted(found["ClientIDList"]),
            "thumbprintLists": found["ThumbprintList"],
            **tag_values(op, tag_map(found.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        if op.changed("thumbprintLists"):
            op.client.update_open_id_connect_provider_thumbprint(
                OpenIDConnectProviderArn=op.id, ThumbprintList=op.values.get("thumbprintLists") or []
            )
        if op.changed("clientIdLists"):
            raise ProviderError(
                f"{self.token}: the emulated account does not change `clientIdLists`: leave it as it was, or give the provider "
                "another name in the program"
            )
        retag(
            op,
            lambda tags: op.client.tag_open_id_connect_provider(OpenIDConnectProviderArn=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_open_id_connect_provider(OpenIDConnectProviderArn=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.delete_open_id_connect_provider(OpenIDConnectProviderArn=op.id)
