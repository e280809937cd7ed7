"""What tests share: builders of evidence, repositories and projects, servers on loopback, and programs to start."""
