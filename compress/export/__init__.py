"""Programs for the device."""
