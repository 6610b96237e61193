"""The one exception the command line turns into a sentence."""


class SandboxError(Exception):
    """What went wrong, why, and what to do, in one sentence a user can act on; never shown with a traceback."""
