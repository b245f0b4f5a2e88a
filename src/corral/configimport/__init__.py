"""Configuration files of other servers, read into ours: llama-swap's YAML, and llama-server's presets.

`llamaswap.py` and `presets.py` read a file into an `Imported` (`imported.py`); `tomltext.py` writes it as our file.
Both end in options of llama-server, whose meaning here is in `optiontable.py`. Such a file may come from anywhere: it
is bounded in size, nothing in it is run, and only names and values that were understood get into our file.
"""
