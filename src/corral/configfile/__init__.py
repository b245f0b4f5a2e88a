"""The configuration file: TOML under the table of settings, and sections for models and aliases.

`reading.py` reads all files into one `FileConfig`; `kinds.py` says what a value may be, `sections.py` what the
sections mean, `locate.py` on which line a key stands, `schema.py` writes a JSON schema, `writing.py` TOML.
"""
