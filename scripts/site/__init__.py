"""The documentation site: pages of docs/, the API reference made of the tables of routes, and their examples."""
