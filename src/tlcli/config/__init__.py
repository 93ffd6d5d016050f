"""What a YAML file may say, and how it is read. Nothing below the workflows sees these objects."""
