"""What each release has deployed, and what the program of today would do to it.

`<version>/<stack>/` has the state of one rehearsed stack (`state.json.xz`, secrets encrypted with a passphrase that is no secret:
they are made up and open nothing) and its stack file as the engine had it. `<version>/urns.txt` has every URN that a component
registers. `python -m tests.releases VERSION` records them; nothing that is recorded is changed later.
"""
