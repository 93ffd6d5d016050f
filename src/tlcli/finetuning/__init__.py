"""Fine-tuning: trains the last blocks of a backbone together with the head, from the frozen fit on."""
