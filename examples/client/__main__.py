"""A team's own program, which asks a model that others serve: it needs an address and a key."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from llm_platform.apps import LlmApp
from llm_platform.secrets import ConfigSecret

config = pulumi.Config()
cluster = kubernetes.Provider("cluster", kubeconfig=config.require_secret("kubeconfig"))
there = pulumi.ResourceOptions(provider=cluster)

# Those who run the platform: organization/llm-platform/prod, say.
platform = pulumi.StackReference(config.require("platform"))
model = config.require("model")


def address(models: Mapping[str, Any]) -> str:
    """Where the model answers."""
    if model not in models:
        raise pulumi.RunError(f"{config.require('platform')} serves no model {model}; it serves {', '.join(sorted(models))}")
    return str(models[model]["url"])


# `pulumi config set --secret key` asks for the key that the platform team handed out.
key = ConfigSecret("key", {"namespace_name": "shop", "values": {"key": config.require_secret("key")}}, there)
assistant = LlmApp(
    "assistant",
    {
        "app_name": "assistant",
        "namespace_name": "shop",
        "image": "registry.example.com/assistant:v1",
        "port": 5000,
        "replicas": 1,
        "calls": [
            {
                "base_url": platform.require_output("models").apply(address),
                "model": model,
                "key_secret": {"name": key.secret_name, "key": "key"},
            }
        ],
    },
    there,
)
pulumi.export("url", assistant.url)
