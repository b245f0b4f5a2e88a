"""Talk to registries of models: pull, push, authentication. Ollama's, Hugging Face's, any OCI registry.

    policy       how patient and how parallel a transfer is
    source       which hosts a name is looked for on
    guard        which addresses a connection may go to
    transport    blocking HTTP on urllib3: guarded, bounded, interruptible
    challenge, key, credentials, auth      who we are to a registry
    client       manifests and blobs of one repository
    manifest     what a manifest must be like before it is believed
    parts        which bytes of a download are there, kept beside it on disk
    prefix       the SHA-256 of a growing file
    download     one blob, from several parts at a time, into the store
    sharing      several pulls of one blob share its download
    upload       one blob to a registry

All of it blocks and runs in threads of its own; only `sharing` is for the event loop. `library/pull.py` imports this
package when it is first needed: a server that never pulls does not pay for it.
"""
