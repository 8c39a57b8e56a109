"""Which machine it is: a Raspberry Pi 4 and 5 as they told of themselves, this one, and machines that tell nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from device_asr.doctor.check import NOT_KNOWN, OK, WARNING
from device_asr.doctor.facts import Facts, read
from device_asr.doctor.machine import check_kernels, check_machine
from tests.support.recorded_facts import facts_of

ZEN = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: sse2 avx2 avx512f avx512_vnni\n\n"


def test_a_raspberry_pi_5_has_dot_products_and_a_4_has_not(tmp_path: Path) -> None:
    five = check_kernels(facts_of("pi5", tmp_path / "5"))
    assert five.figures["kernels"] == {"NEON": True, "dot product": True, "i8mm": False, "SME": False}
    assert five.says == "NEON, dot product for 8-bit products; without i8mm, SME."
    four = check_kernels(facts_of("pi4", tmp_path / "4"))
    assert four.figures["kernels"]["dot product"] is False and "about half as fast" in four.says


def test_the_board_is_named(tmp_path: Path) -> None:
    check = check_machine(facts_of("pi4", tmp_path))
    assert check.state == OK
    assert check.says.startswith("Raspberry Pi 4 Model B Rev 1.5, 4 cores of Cortex-A72, 1849 MiB, Linux 6.6.51")
    assert check.figures["cores"] == check.figures["usable_cores"] == 4


def test_an_x86_processor_is_named_by_its_model() -> None:
    facts = Facts({"/proc/cpuinfo": ZEN * 2}, system="Linux", architecture="x86_64", usable=1)
    assert "2 cores of AMD EPYC, 1 of them usable" in check_machine(facts).says
    assert check_kernels(facts).says == "AVX2, AVX-512, AVX-512 VNNI for 8-bit products; without AVX-VNNI, AMX."


def test_an_instruction_set_that_only_the_big_cores_have_does_not_count() -> None:
    little, big = "processor : 0\nFeatures : asimd\n\n", "processor : 1\nFeatures : asimd asimddp i8mm\n\n"
    found = check_kernels(Facts({"/proc/cpuinfo": little + big}, architecture="aarch64")).figures["kernels"]
    assert found == {"NEON": True, "dot product": False, "i8mm": False, "SME": False}


def test_the_instruction_sets_of_the_machine_below_an_emulated_one_are_not_taken_for_its_own() -> None:
    emulated = check_kernels(Facts({"/proc/cpuinfo": ZEN}, architecture="aarch64"))
    assert emulated.state == NOT_KNOWN and emulated.figures["kernels"] is None


def test_a_system_of_32_bits_and_a_strange_processor_are_warned_of(tmp_path: Path) -> None:
    facts = replace(facts_of("pi4", tmp_path), bits=32, architecture="armv7l")
    assert check_machine(facts).state == WARNING and "needs a 64-bit system" in check_machine(facts).says
    strange = check_machine(Facts(architecture="riscv64"))
    assert strange.state == WARNING and "x86-64 and aarch64 only" in strange.says


def test_what_is_not_told_is_not_known() -> None:
    says = check_machine(Facts()).says
    assert says.count("unknown") == 2 and says.count("not known") == 4
    assert check_kernels(Facts()).state == check_kernels(Facts(architecture="riscv64")).state == NOT_KNOWN
    assert check_kernels(Facts()).figures["kernels"] is None


def test_this_machine_is_examined(tmp_path: Path) -> None:
    facts = read(tmp_path)
    assert check_machine(facts).figures["memory_bytes"] > 2**28
    assert check_machine(facts).figures["cores"] >= 1
