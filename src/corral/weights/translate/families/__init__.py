"""One module for each family of models that was published in a layout of its own."""
