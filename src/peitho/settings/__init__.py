"""What did the operator decide? Models of the settings; how they are loaded, changed and shown."""
