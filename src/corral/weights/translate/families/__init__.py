"""One module per family of models that was published in a special layout."""
