"""What a stack consists of, and what a change means, told to people and to other programs. Nothing here changes anything."""
