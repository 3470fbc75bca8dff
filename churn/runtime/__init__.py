"""What a process needs of the machine it runs on: CPUs, imports, files."""
