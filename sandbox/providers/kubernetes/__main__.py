"""The plugin executable: `python -m sandbox.providers.kubernetes ENGINE_ADDRESS`."""

from sandbox.providers.host import serve
from sandbox.providers.kubernetes.provider import KubernetesProvider

serve(KubernetesProvider)
