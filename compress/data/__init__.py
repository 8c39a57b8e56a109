"""Speech, texts and labels."""
