"""The command line as a person calls it: real files, real model, one sentence for each mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_asr.audio.format import SAMPLE_RATE
from tests.support.paths import ASSETS, MODEL

TIMER = str(ASSETS / "timer.flac")


def run(
    *arguments: str,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    wrapper: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*wrapper, sys.executable, "-m", "device_asr.cli", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=120,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def assert_reported(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Sentences of ours with these parts, this exit code, no traceback and no library's own lines."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Unexpected" not in done.stderr
    assert code == 2 or all(line.startswith("device-asr: ") for line in done.stderr.splitlines())
    for part in parts:
        assert part in done.stderr


# -- transcribe --------------------------------------------------------------------------------------


def test_text_is_printed_and_nothing_else() -> None:
    done = run("transcribe", TIMER)
    assert done.returncode == 0
    assert "timer" in done.stdout and done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_raw_pcm_from_standard_input_is_the_same_text() -> None:
    pcm, _ = soundfile.read(TIMER, dtype="int16")
    wanted = run("transcribe", TIMER).stdout
    assert run("transcribe", "-", stdin=pcm.tobytes()).stdout == wanted
    floats = (pcm / 32768).astype("<f4").tobytes()
    assert run("transcribe", "-", "--encoding", "f32le", stdin=floats).stdout == wanted


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("a.wav", 8000, 1), ("a.wav", 96_000, 1), ("a.wav", 44_100, 6), ("a.mp3", 44_100, 2), ("a.ogg", 16_000, 1)],
)
def test_any_rate_and_channel_count(name: str, rate: int, channels: int, tmp_path: Path) -> None:
    import soxr

    pcm, _ = soundfile.read(TIMER, dtype="float32")
    audio = np.repeat(soxr.resample(pcm, SAMPLE_RATE, rate)[:, None], channels, axis=1)
    soundfile.write(tmp_path / name, audio, rate)
    done = run("transcribe", str(tmp_path / name))
    assert done.returncode == 0 and "timer" in done.stdout.lower()


def test_formats_and_a_folder_for_several_files(tmp_path: Path) -> None:
    done = run("transcribe", TIMER, str(ASSETS / "letter.flac"), "--format", "vtt", "--out", str(tmp_path))
    assert done.returncode == 0 and done.stdout == ""
    assert (tmp_path / "timer.vtt").read_text().startswith("WEBVTT\n\n00:00:0")
    assert (tmp_path / "letter.vtt").read_text().count("-->") >= 6
    record = json.loads(run("transcribe", TIMER, "--format", "jsonl").stdout)
    assert record["event"] == "final" and record["words"][0]["start"] < record["words"][-1]["end"]


def test_times_of_a_second_file_start_anew() -> None:
    lines = run("transcribe", TIMER, TIMER, "--format", "jsonl").stdout.splitlines()
    first, second = (json.loads(line) for line in lines)
    assert abs(first["start"] - second["start"]) < 0.1 and first["text"] == second["text"]


def test_the_other_files_are_still_done(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"not audio at all")
    done = run("transcribe", str(tmp_path / "broken.wav"), TIMER, str(tmp_path / "none.wav"))
    assert_reported(done, 1, "broken.wav", "none.wav: no such file")
    assert "timer" in done.stdout


def test_timing_is_one_json_object() -> None:
    began = time.monotonic()
    timing = json.loads(run("transcribe", TIMER, "--timing").stderr)
    assert 0 < timing["import_and_load_s"] <= timing["start_to_text_s"] <= time.monotonic() - began
    assert timing["rtf"] == pytest.approx(timing["compute_s"] / timing["audio_s"], abs=1e-3)


# -- bad input ---------------------------------------------------------------------------------------


def write(path: Path, audio: np.ndarray, rate: int = SAMPLE_RATE, subtype: str | None = None) -> str:
    soundfile.write(path, audio, rate, subtype=subtype)
    return str(path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    assert_reported(run("transcribe", str(tmp_path / "a.wav")), 1, "a.wav: the file is empty")


def test_a_header_without_audio(tmp_path: Path) -> None:
    assert_reported(run("transcribe", write(tmp_path / "a.wav", np.zeros(0))), 1, "a header and no audio")


def test_one_sample_and_silence_make_no_words(tmp_path: Path) -> None:
    for count, sentence in ((1, "1 sample of audio (0.062 ms), too short for a word"), (48_000, "digital silence")):
        done = run("transcribe", write(tmp_path / "a.wav", np.zeros(count)))
        assert_reported(done, 0, sentence)
        assert done.stdout == "" and done.stderr.count("\n") == 1


def test_a_truncated_file_is_transcribed_as_far_as_it_goes(tmp_path: Path) -> None:
    pcm, _ = soundfile.read(ASSETS / "letter.flac", dtype="float32")
    data = Path(write(tmp_path / "whole.flac", pcm)).read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    done = run("transcribe", str(tmp_path / "cut.flac"))
    assert_reported(done, 0, "cut.flac: cut short")
    assert "draft" in done.stdout


def test_a_decoder_keeps_its_own_lines_to_itself(tmp_path: Path) -> None:
    """libmpg123 wrote 50 lines about this file to the terminal."""
    pcm, rate = soundfile.read(ASSETS / "letter.flac", dtype="float32")
    soundfile.write(tmp_path / "a.mp3", pcm, rate)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(data[: len(data) // 2])
    done = run("transcribe", str(tmp_path / "a.mp3"))
    assert_reported(done, 0, "a.mp3: cut short: the header promises 28.6 s")
    assert done.stderr.count("\n") == 1 and "draft" in done.stdout


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_name_that_is_not_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff.flac"
    shutil.copy(os.fsencode(TIMER), path)
    done = run("transcribe", os.fsdecode(path))
    assert (done.returncode, done.stderr) == (0, "") and "timer" in done.stdout


def test_nan_and_infinity_are_reported_and_taken_as_silence(tmp_path: Path) -> None:
    pcm, _ = soundfile.read(TIMER, dtype="float32")
    pcm[:100], pcm[100:110] = np.nan, np.inf
    done = run("transcribe", write(tmp_path / "a.wav", pcm, subtype="FLOAT"))
    assert_reported(done, 0, "110 samples were NaN or infinite")
    assert "timer" in done.stdout


def test_clipping_is_reported(tmp_path: Path) -> None:
    pcm, _ = soundfile.read(TIMER, dtype="float32")
    assert_reported(run("transcribe", write(tmp_path / "a.wav", np.clip(pcm * 40, -1, 1))), 0, "clipped")


def test_what_is_not_a_file(tmp_path: Path) -> None:
    assert_reported(run("transcribe", str(tmp_path)), 1, "a folder; wanted an audio file")
    assert_reported(run("transcribe", str(tmp_path / "x.wav")), 1, "no such file")
    assert_reported(
        run("transcribe", __file__), 1, "not an audio file that can be read (Format not recognised)", "ffmpeg"
    )


def unprivileged() -> tuple[str, ...]:
    """What takes root's right to read and write everything away; nothing for others."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and setpriv is not there to take the right away")
    without = "-dac_override,-dac_read_search"
    return "setpriv", f"--bounding-set={without}", f"--inh-caps={without}"


def test_no_permission_to_read_or_to_write(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.wav", np.zeros(10)))
    path.chmod(0)
    done = run("transcribe", str(path), TIMER, wrapper=unprivileged())
    assert_reported(done, 1, "a.wav: no permission to read it")
    assert "timer" in done.stdout
    (tmp_path / "locked").mkdir(mode=0o500)
    done = run("transcribe", TIMER, "--out", str(tmp_path / "locked" / "a.txt"), wrapper=unprivileged())
    assert_reported(done, 1, "a.txt: could not be written (Permission denied); choose another place")


def test_a_model_that_may_not_be_read(bundle: Path) -> None:
    for name, sentence in (
        ("vad.pte", "vad.pte cannot be read (Permission denied)"),
        ("manifest.json", "manifest.json cannot be read (Permission denied)"),
        (".", "the model cannot be read (Permission denied)"),
    ):
        (bundle / name).chmod(0)
        assert_reported(run("transcribe", TIMER, "--model", str(bundle), wrapper=unprivileged()), 1, sentence)
        (bundle / name).chmod(0o700)


def test_nothing_on_standard_input() -> None:
    assert_reported(run("transcribe", "-", stdin=b""), 1, "no audio came", "ffmpeg")


def test_a_file_with_a_header_on_standard_input() -> None:
    """Its header, and a FLAC's whole content, would be recognized as noise."""
    assert_reported(run("transcribe", "-", stdin=Path(TIMER).read_bytes()), 1, "wanted raw PCM, found a FLAC file")


def test_nan_on_standard_input_is_reported() -> None:
    pcm, _ = soundfile.read(TIMER, dtype="float32")
    pcm[:100] = np.nan
    done = run("transcribe", "-", "--encoding", "f32le", stdin=pcm.astype("<f4").tobytes()[:-1])
    assert_reported(done, 0, "100 samples were NaN or infinite", "ended in the middle of a sample")
    assert "timer" in done.stdout


def test_usage_mistakes_exit_with_2(tmp_path: Path) -> None:
    assert_reported(run("transcribe"), 2, "FILE")
    assert_reported(run("transcrib", TIMER), 2, "Did you mean 'transcribe'?")
    assert_reported(run("transcribe", TIMER, "--set", "endpoint.hangover=3"), 2, "'endpoint.hangover_ms'")
    assert_reported(run("transcribe", TIMER, "--threads", "0"), 2, "wanted 1 to 64")
    assert_reported(run("transcribe", "-", "-", stdin=b"x"), 2, "was given twice")
    assert_reported(run("transcribe", TIMER, TIMER, "--out", str(tmp_path / "x.txt")), 2, "wanted a folder")
    assert_reported(run("transcribe", TIMER, "--config", str(tmp_path / "none.toml")), 2, "config --init")


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4)); "
        "from device_asr.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "transcribe", TIMER, "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert_reported(done, 1, "out.txt: could not be written", "No partial file")
    assert list(tmp_path.iterdir()) == []
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "device_asr.cli", "transcribe", TIMER],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
            )
        assert_reported(done, 1, "standard output: could not be written")


def peak_of_transcribing(path: Path) -> float:
    """MiB that a process held at most. Its own count: the count of getrusage for a child begins with the parent's."""
    code = (
        "import atexit; from device_asr.cli import main; from device_asr.bench.memory import peak_memory; "
        "atexit.register(lambda: print(peak_memory())); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "transcribe", str(path), "--out", str(path.with_suffix(".txt"))],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 2**20


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """20 minutes of noise against one; speech is the slow test's."""

    def peak(minutes: int) -> float:
        path = tmp_path / f"{minutes}.flac"
        rng = np.random.default_rng(0)
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
            for _ in range(minutes):
                file.write(rng.normal(0, 0.001, SAMPLE_RATE * 60))
        return peak_of_transcribing(path)

    assert peak(20) < peak(1) + 20  # MiB; 38 would be 20 minutes of int16


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_speech(tmp_path: Path) -> None:
    """The letter 10 and 60 times: 5 and 29 minutes. Measured: 369 MiB for 5 minutes, 371 for 30, 371 for 3 hours."""

    def peak(times: int) -> float:
        path = tmp_path / f"{times}.flac"
        pcm, rate = soundfile.read(ASSETS / "letter.flac", dtype="int16")
        with soundfile.SoundFile(path, "w", rate, 1) as file:
            for _ in range(times):
                file.write(pcm)
        found = peak_of_transcribing(path)
        assert path.with_suffix(".txt").read_text().count("Best wishes") == times
        return found

    assert peak(60) < peak(10) + 20


# -- bundles -----------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "en-tiny"))


def edit(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_a_changed_program_is_refused(bundle: Path) -> None:
    data = bytearray((bundle / "model.pte").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.pte").write_bytes(data)
    assert_reported(run("transcribe", TIMER, "--model", str(bundle)), 1, "model.pte: wanted sha256")
    assert_reported(run("models", "verify", str(bundle)), 1, "sha256")


def test_a_newer_format_and_a_missing_method_are_reported(bundle: Path) -> None:
    edit(bundle, format=99)
    assert_reported(run("transcribe", TIMER, "--model", str(bundle)), 1, "format 99", "update device-asr")
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["programs"]["speech"]["methods"]["decode"]
    edit(bundle, format=2, programs=manifest["programs"])
    assert_reported(run("transcribe", TIMER, "--model", str(bundle)), 1, "wanted the method 'decode'")


def test_a_missing_file_a_broken_manifest_and_no_bundle_are_reported(bundle: Path) -> None:
    (bundle / "vad.pte").unlink()
    assert_reported(run("transcribe", TIMER, "--model", str(bundle)), 1, "vad.pte is missing")
    (bundle / "manifest.json").write_text("{")
    assert_reported(run("transcribe", TIMER, "--model", str(bundle)), 1, "manifest.json cannot be read")
    done = run("transcribe", TIMER, TIMER, "--model", "nothing")
    assert_reported(done, 1, "models list", "en-tiny")
    assert done.stderr.count("\n") == 1  # once, not for each audio


def test_models_are_listed_shown_and_verified() -> None:
    assert "en-tiny" in run("models", "list").stdout
    assert json.loads(run("models", "show", "en-tiny", "--json").stdout)["name"] == "en-tiny"
    assert "Whisper tiny.en" in run("models", "show", "en-tiny").stdout
    assert "whole" in run("models", "verify", "en-tiny").stdout


def test_the_shipped_bundle_is_small() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 24e6


# -- config ------------------------------------------------------------------------------------------


def test_config_shows_where_each_value_came_from(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[endpoint]\nhangover_ms = 500\n")
    done = run(
        "config",
        "--json",
        "--config",
        str(tmp_path / "c.toml"),
        "--threads",
        "1",
        env={"DEVICE_ASR_ENDPOINT_ON": "0.6"},
    )
    values = json.loads(done.stdout)
    assert values["endpoint.hangover_ms"] == {"value": 500, "from": str(tmp_path / "c.toml")}
    assert values["endpoint.on"] == {"value": 0.6, "from": "environment DEVICE_ASR_ENDPOINT_ON"}
    assert values["model.threads"] == {"value": 1, "from": "flag"}
    assert values["partial.agreement"]["from"] == "default"


def test_config_init_writes_a_file_that_is_valid_and_is_not_overwritten(tmp_path: Path) -> None:
    env = {"DEVICE_ASR_CONFIG": str(tmp_path / "new" / "config.toml")}
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.toml").write_text("")
    assert_reported(run("config", "--init", env=env), 1, "exists already")
    (tmp_path / "new" / "config.toml").unlink()
    env = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    written = Path(run("config", "--init", env=env).stdout.strip())
    written.write_text(re.sub(r"(?m)^# (?=\w+ = )", "", written.read_text()))
    assert run("config", env=env).returncode == 0  # every default is itself valid


# -- lightness ---------------------------------------------------------------------------------------


def test_only_runtime_imports_torch_and_nothing_imports_compress() -> None:
    code = """
import importlib, pathlib, sys
root = pathlib.Path("device_asr")
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    importlib.import_module(name)
bad = [m for m in ("torch", "executorch", "compress", "torchao", "faster_whisper") if m in sys.modules]
sys.exit(f"imported: {bad}" if bad else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ASSETS.parent)
    assert done.returncode == 0, done.stderr
    sources = {
        p.name
        for p in (ASSETS.parent / "device_asr").rglob("*.py")
        if any(f"import {m}" in p.read_text() or f"from {m}" in p.read_text() for m in ("torch", "executorch"))
    }
    assert sources == {"executorch.py"}


def test_the_command_line_starts_light() -> None:
    code = (
        "import sys; import device_asr.cli; "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'textual', 'soundfile', 'sounddevice', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ASSETS.parent).returncode == 0
