"""Sources of the extension module `device_asr.runtime._native`, and how it is built."""
