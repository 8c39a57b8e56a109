"""Settings, read from a TOML file, the environment and flags.

Every setting has a unit, a range and one sentence. `describe` lists them, so that the commented config
file, the help screen and the error messages share one source.
"""

from __future__ import annotations

from device_asr.config.reading import APP_NAME, ENVIRONMENT_PREFIX, LoadedConfig, config_path, load, with_settings
from device_asr.config.sections import (
    AudioConfig,
    Config,
    DecodingConfig,
    EndpointConfig,
    FinalConfig,
    InterfaceConfig,
    ModelConfig,
    PartialConfig,
    SessionConfig,
    Setting,
    describe,
)

__all__ = [
    "APP_NAME",
    "ENVIRONMENT_PREFIX",
    "AudioConfig",
    "Config",
    "DecodingConfig",
    "EndpointConfig",
    "FinalConfig",
    "InterfaceConfig",
    "LoadedConfig",
    "ModelConfig",
    "PartialConfig",
    "SessionConfig",
    "Setting",
    "config_path",
    "describe",
    "load",
    "with_settings",
]
