"""An emulation of the official pulumi-command provider: `command:remote:Command` over real SSH."""
