"""The built-in model `corral-tiny`: its world, training, export and scoring."""
