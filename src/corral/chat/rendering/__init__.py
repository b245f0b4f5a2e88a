"""What the renderers of several families share: conversations, ChatML, JSON as prompts hold it, image tags."""
