"""Pages that programs write, so that they tell of the code as it is: `python -m tests.pages`."""
