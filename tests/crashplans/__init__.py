"""What happens when a call that changes the disk is the last one, fails, or is undone by a power cut."""
