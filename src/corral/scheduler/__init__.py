"""Who gets which runner, and when models are loaded and unloaded."""
