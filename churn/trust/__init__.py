"""What may be loaded: the checks of a model version before anything of it is used."""
