"""What happened: materials, products, command, parameters and environment, read from disk, Git and DVC."""
