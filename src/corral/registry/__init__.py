"""Talk to registries of models: pull, push, authentication. Ollama's, Hugging Face's, any OCI registry.

    policy              how patient and how parallel a transfer is
    source              which hosts are asked for a name
    address_filter      which addresses a connection may go to
    transport           blocking HTTP on urllib3: guarded, bounded, interruptible
    challenge, key, credentials, auth      authentication
    client              manifests and blobs of one repository
    manifest            checks of a manifest before anything is done with it
    part_state          which bytes of a download are present, kept beside it on disk
    prefix              the SHA-256 of a growing file
    download            one blob, several parts at a time, into the store
    active_downloads    several pulls of one blob share its download
    upload              one blob to a registry

All of it blocks and runs in threads of its own, except `active_downloads`, which is for the event loop.
`library/pull.py` imports this package when it is first needed: a server that never pulls does not pay for it.
"""
