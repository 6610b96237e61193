"""The plugin, as the engine starts it."""

from sandbox.providers.command.provider import CommandProvider
from sandbox.providers.host import serve

serve(CommandProvider)
