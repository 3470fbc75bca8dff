"""Records of what was answered: handed to a process that writes them to the decision store."""
