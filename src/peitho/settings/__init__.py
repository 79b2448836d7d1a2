"""What the operator decides: models of the settings, how they are loaded, changed and shown."""
