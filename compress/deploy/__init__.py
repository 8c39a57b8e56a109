"""Archives that install device_asr on a device without network, and their check under emulation."""
