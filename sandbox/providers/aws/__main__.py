"""`python -m sandbox.providers.aws ENGINE`: the plugin, as the Pulumi engine starts it."""

from sandbox.providers.aws.provider import AwsProvider
from sandbox.providers.host import serve

serve(AwsProvider)
