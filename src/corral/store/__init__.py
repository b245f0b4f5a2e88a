"""The model store: manifests and blobs in the same folder, and in the same bytes, as Ollama's.

    <models>/manifests/<host>/<namespace>/<model>/<tag>     JSON
    <models>/blobs/sha256-<64 hex>                          content
    <models>/blobs/sha256-<digits>                          a blob being written
    <models>/blobs/sha256-<64 hex>-partial*                 an interrupted download

Another process, Ollama itself included, may use the folder at the same time: files are written under another name
and renamed, and any file may vanish at any time.
"""
