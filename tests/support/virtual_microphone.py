"""A microphone without hardware: a private PulseAudio daemon whose null sink PortAudio reads.

Real time, real callbacks, real unplugging: `paplay` plays into the sink, PortAudio reads the sink's
monitor through ALSA's pulse plugin. Debian: pulseaudio, pulseaudio-utils, libasound2-plugins.

By hand: `python -m tests.support.virtual_microphone COMMAND...` runs a command that records from it
and may play into it with `paplay --device=vmic`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ASOUNDRC = """
pcm.!default { type pulse hint { show on description "Virtual microphone" } }
ctl.!default { type pulse }
"""


def missing() -> str | None:
    """Why there can be no virtual microphone here, or None."""
    for tool, package in (("pulseaudio", "pulseaudio"), ("pactl", "pulseaudio-utils"), ("paplay", "pulseaudio-utils")):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: apt install {package})"
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return "PortAudio is not installed (Debian: apt install libportaudio2)"
    if not any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        return "ALSA's pulse plugin is not installed (Debian: apt install libasound2-plugins)"
    return None


def _end_with_parent() -> None:
    """A test that is killed leaves no daemon behind (Linux: PR_SET_PDEATHSIG = 1)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class VirtualMicrophone:
    """Use as a context manager; programs that shall record from it run with `env`.

    For in-process tests put `changes` into `os.environ`, then call `device_asr.audio.devices.refresh`.
    """

    def __init__(self, *, rate: int = 48_000, channels: int = 2) -> None:
        self.rate, self.channels = rate, channels
        self.folder = Path(tempfile.mkdtemp(prefix="vmic-"))
        (self.folder / ".asoundrc").write_text(ASOUNDRC)
        socket = self.folder / "native"
        self.changes = {
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "PULSE_RUNTIME_PATH": str(self.folder),
            "PULSE_SERVER": f"unix:{socket}",
        }
        self._module: str | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._socket = socket
        self._log = (self.folder / "pulseaudio.log").open("wb")
        self._daemon = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--realtime=no",
                "--high-priority=no",
                "--disable-shm=yes",
                "--log-level=info",
                "--load",
                f"module-native-protocol-unix auth-anonymous=1 socket={socket}",
            ],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=_end_with_parent,
        )
        try:
            self._await_daemon()
            self.plug()
        except BaseException:
            self.close()
            raise

    @property
    def env(self) -> dict[str, str]:
        """The environment for a child process that shall record from this microphone."""
        return {**os.environ, **self.changes}

    def _await_daemon(self) -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if self._socket.exists() and self._pactl("info").returncode == 0:
                return
            if self._daemon.poll() is not None:
                break
            time.sleep(0.05)
        log = (self.folder / "pulseaudio.log").read_text(errors="replace")
        raise RuntimeError(f"pulseaudio did not start: {log[-2000:]}")

    def _pactl(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["pactl", *args], env=self.env, capture_output=True, text=True, timeout=20)

    def plug(self) -> None:
        """Brings the device (back).

        Without `norewinds` the null sink renders up to 2 s ahead, which no hardware does: the first
        block came 1.9 s after opening.
        """
        result = self._pactl(
            "load-module",
            "module-null-sink",
            "sink_name=vmic",
            f"rate={self.rate}",
            f"channels={self.channels}",
            "norewinds=1",
            "sink_properties=device.description=VirtualMic",
        )
        if result.returncode:
            raise RuntimeError(f"null sink: {result.stderr}")
        self._module = result.stdout.strip()
        self._pactl("set-default-source", "vmic.monitor")

    def unplug(self) -> None:
        """Takes the device away in mid-stream."""
        if self._module is not None:
            self._pactl("unload-module", self._module)
            self._module = None

    def freeze(self) -> None:
        """Makes the server stand still: no audio, no error."""
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets the server go on."""
        self._daemon.send_signal(signal.SIGCONT)

    def play(self, audio: Path | str, *, wait: bool = False) -> subprocess.Popen[bytes]:
        """Plays an audio file into the microphone in real time."""
        player = self._spawn("paplay", "--device=vmic", "--latency-msec=60", str(audio))
        if wait:
            player.wait()
        return player

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(command, env=self.env, stdin=nowhere, stdout=nowhere, stderr=nowhere)
        self._children.append(process)
        return process

    def close(self) -> None:
        """Ends every child process, removes every file."""
        self.thaw()
        for process in [*self._children, self._daemon]:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [*self._children, self._daemon]:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> VirtualMicrophone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    if len(sys.argv) < 2 or missing():
        sys.exit(missing() or "wanted a command to run")
    with VirtualMicrophone() as vmic:
        code = subprocess.run(sys.argv[1:], env=vmic.env).returncode
    sys.exit(code)
