"""The programs whose behaviour is rehearsed: each answers as its documentation says, over the host's files and memory."""
