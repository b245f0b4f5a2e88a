"""Models folders of other programs: they are used, and nothing in them is lost."""
