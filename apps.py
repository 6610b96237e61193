"""What the apps of a stack become: programs of one's own that call its models, or those of somebody else."""

from collections.abc import Sequence

import pulumi

from components.apps import KeyAs, LlmApp
from components.apps.config import model_url
from components.apps.groups import AppSecretArgs, ModelApiArgs
from components.types import NodePoolArgs
from foundation import Foundation, MadeSecrets
from foundation.entering import load_balancer
from foundation.watching import nodes
from settings.models import SecretKeySettings
from settings.sections import Settings


def run(config: Settings, below: Foundation, secrets: MadeSecrets, after: Sequence[pulumi.Resource]) -> dict[str, LlmApp]:
    """The apps; `after` is what makes load balancers and autoscalers, which outlives them."""
    return {
        name: LlmApp(
            name,
            {
                **app.program(),
                "app_name": name,
                "namespace_name": secrets.namespaces[config.namespace_of_app(name)],
                "calls": _calls(name, config, secrets),
                "secrets": {
                    variable: _secret(secret, secret.key_as, config.namespace_of_app(name), secrets)
                    for variable, secret in app.secrets.items()
                },
                "load_balancer": load_balancer(app.load_balancer, on_aws=below.aws is not None) if app.load_balancer else None,
                "pool": below.cluster.pool(app.node_pool).args() if app.node_pool else None,
                "system_labels": dict(below.system_labels),
                "avoided_pools": _avoided(config, below),
                "priority_class_name": app.priority_class_name,
                "image_pull_secrets": secrets.image_pull(config.namespace_of_app(name)),
            },
            opts=pulumi.ResourceOptions(provider=below.provider, depends_on=list(after)),
        )
        for name, app in config.apps.items()
    }


def _avoided(config: Settings, below: Foundation) -> list[NodePoolArgs]:
    """Pools with accelerators, where there are other nodes."""
    found = [pool for pool in below.cluster.node_pools if pool.accelerator]
    return [pool.args() for pool in found] if nodes(config, below) > sum(pool.max_nodes for pool in found) else []


def _calls(name: str, config: Settings, secrets: MadeSecrets) -> list[ModelApiArgs]:
    app, space = config.apps[name], config.namespace_of_app(name)
    found: list[ModelApiArgs] = []
    if called := app.model:
        key = config.models[called.name].api_key_secret
        found.append(
            {
                "prefix": called.prefix,
                "base_url": model_url(called.name, config.namespace_of(called.name)),
                "model": called.ask_for or called.name,
                "key_secret": _secret(key, called.key_as, space, secrets) if key else None,
            }
        )
    if provider := app.provider:
        key = provider.secret
        found.append(
            {
                "prefix": provider.prefix,
                "base_url": provider.base_url,
                "model": provider.model,
                "key_secret": _secret(key, key.key_as, space, secrets) if key else None,
            }
        )
    return found


def _secret(wanted: SecretKeySettings, key_as: KeyAs, space: str, secrets: MadeSecrets) -> AppSecretArgs:
    return {"name": secrets.names.get((space, wanted.name), wanted.name), "key": wanted.key, "key_as": key_as}
