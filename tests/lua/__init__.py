"""A Lua to run scripts of the collector with: Fluent Bit has LuaJIT, whose language is the same (Lua 5.1)."""
