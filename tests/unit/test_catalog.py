"""The hardware catalogue: every name finds its card, and the files agree with one another."""

import datetime
import subprocess
import sys

import pytest

from planner.catalog import (
    UnknownAcceleratorError,
    UnknownInstanceTypeError,
    accelerator,
    accelerators,
    instance_type,
    instance_types,
    on_demand_price,
)

# Cards and the total memory (GiB) their starts printed; None where a start did not say.
# Source: tests/unit/planner/vllm_memory_cases.yaml.
STARTS = [
    ("NVIDIA H100 80GB HBM3", "H100-80GB", 79.19),
    ("NVIDIA H100 80GB", "H100-80GB", 79.18),
    ("NVIDIA H100 80GB", "H100-80GB", 79.22),
    ("NVIDIA H100", "H100-80GB", None),
    ("Tesla T4", "T4", None),
    ("NVIDIA A10", "A10", 21.99),
    ("NVIDIA A10G", "A10G", 22.06),
    ("RTX 3090", "RTX-3090", 23.58),
    ("RTX 4090", "RTX-4090", None),
    ("RTX 5090", "RTX-5090", None),
    ("NVIDIA L40S", "L40S", None),
    ("NVIDIA L40", "L40", None),
    ("RTX A6000 48GB", "RTX-A6000", 47.54),
    ("NVIDIA A100 40GB", "A100-40GB", 39.5),
    ("NVIDIA A100 80GB", "A100-80GB", None),
    ("NVIDIA A100-SXM4-40GB", "A100-40GB", None),
    ("NVIDIA A100", "A100-80GB", None),
]

# How Karpenter, GPU feature discovery, GKE and people spell them.
SPELLINGS = {
    "t4": "T4",
    "t4g": "T4G",
    "a10g": "A10G",
    "l40s": "L40S",
    "rtx-pro-4500": "RTX-PRO-4500",
    "rtx-pro-server-6000": "RTX-PRO-6000",
    "radeon-pro-v520": "Radeon-Pro-V520",
    "gaudi-hl-205": "Gaudi",
    "inferentia2": "Inferentia2",
    "trainium": "Trainium1",
    "trainium2": "Trainium2",
    "NVIDIA-H100-80GB-HBM3": "H100-80GB",
    "Tesla-V100-SXM2-32GB": "V100-32GB",
    "AMD_Instinct_MI300X_OAM": "MI300X",
    "nvidia-tesla-t4": "T4",
    "nvidia-h200-141gb": "H200",
    "tpu-v5-lite-podslice": "TPU-v5e",
    "A100-80G": "A100-80GB",
    "A100 40 GB": "A100-40GB",
    "H100-SXM5-80GB": "H100-80GB",
    "H100 PCIe": "H100-PCIe-80GB",
    "NVIDIA H100 NVL 94GB": "H100-NVL-94GB",
    "GeForce RTX 4090 24GB": "RTX-4090",
    "Gaudi 3 128GB": "Gaudi3",
    "ATOM+": "RBLN-CA22",
}

# Memory of one device in MiB as EC2's DescribeInstanceTypes advertises it (moto 5.2.5; Karpenter's list for Gaudi,
# Radeon-Pro-V520 and V100-16GB). Trainium2 is absent: that data says 524288, against the 96 GiB of the AWS Neuron documentation.
ADVERTISED_MIB = {
    "T4": 16384,
    "T4G": 16384,
    "A10G": 22888,
    "L4": 22888,
    "L40S": 45776,
    "RTX-PRO-4500": 32768,
    "RTX-PRO-6000": 98304,
    "V100-16GB": 16384,
    "V100-32GB": 32768,
    "A100-40GB": 40960,
    "A100-80GB": 81920,
    "H100-80GB": 81920,
    "H200": 144384,
    "B200": 183359,
    "B300": 275040,
    "Inferentia2": 32768,
    "Trainium1": 32768,
    "Gaudi": 32768,
    "Radeon-Pro-V520": 8192,
}


@pytest.mark.parametrize(("name", "key", "memory_gib"), STARTS)
def test_cards_of_published_starts_are_known_with_the_memory_they_reported(name: str, key: str, memory_gib: float | None) -> None:
    card = accelerator(name)
    assert card.name == key
    assert memory_gib is None or card.memory_gib == pytest.approx(memory_gib, rel=0.005)


@pytest.mark.parametrize(("spelling", "key"), SPELLINGS.items())
def test_usual_spellings_find_the_card(spelling: str, key: str) -> None:
    assert accelerator(spelling).name == key


def test_every_key_product_and_alias_belongs_to_one_card() -> None:
    for key, card in accelerators().items():
        assert {accelerator(name).name for name in (key, card.product, *card.aliases)} == {key}


@pytest.mark.parametrize("name", ["A100 24GB", "H100 40GB", "RTX 4090 D", "MI100", "", "8xH100"])
def test_another_size_or_card_is_never_taken_for_one_that_is_known(name: str) -> None:
    with pytest.raises(UnknownAcceleratorError):
        accelerator(name)


def test_an_unknown_card_gets_one_sentence_with_the_nearest_and_the_way_round() -> None:
    with pytest.raises(UnknownAcceleratorError) as refused:
        accelerator("NVIDIA A100 24GB")
    assert str(refused.value) == (
        "'NVIDIA A100 24GB' is not in the accelerator catalogue; the nearest are A100-40GB, A100-80GB, A10G, "
        "and --gpu-memory-gib works for any other card"
    )


def test_every_accelerator_is_whole_and_names_its_source() -> None:
    resources = {
        "nvidia": "nvidia.com/gpu",
        "amd": "amd.com/gpu",
        "intel": "habana.ai/gaudi",
        "aws": "aws.amazon.com/neuron",
        "google": "google.com/tpu",
        "rebellions": "rebellions.ai/ATOM",
        "sapeon": "sapeon.com/snx3",
    }
    assert {card.vendor for card in accelerators().values()} == set(resources)
    for card in accelerators().values():
        assert card.resource == resources[card.vendor]
        assert card.source
        assert (card.compute_capability is None) == (card.vendor != "nvidia"), card.name
        assert card.formats
        assert card.formats <= {"float16", "bfloat16", "int8", "fp8", "mxfp4", "nvfp4"}, card.name
        assert card.fp8_tflops is None or "fp8" in card.formats, card.name
        assert card.interconnect in ("nvlink", "pcie", "xgmi", "neuronlink", "ici", "roce"), card.name


def test_formats_follow_the_compute_capability() -> None:
    for card in accelerators().values():
        if card.compute_capability is not None:
            assert ("bfloat16" in card.formats) == (card.compute_capability >= (8, 0)), card.name
            assert ("fp8" in card.formats) == (card.compute_capability >= (8, 9)), card.name
            assert ("nvfp4" in card.formats) == (card.compute_capability >= (10, 0)), card.name


def test_what_the_driver_reports_is_a_little_less_than_what_aws_advertises() -> None:
    used = {found.accelerator for found in instance_types().values()}
    assert used == {*ADVERTISED_MIB, "Trainium2"}
    for key, advertised in ADVERTISED_MIB.items():
        # T4 has the widest gap, 9 %: error correction takes 6 % of its memory.
        assert 0.9 <= accelerators()[key].memory_gib * 1024 / advertised <= 1, key


def test_instances_have_the_devices_aws_states() -> None:
    assert len(instance_types()) == 80
    p5 = instance_type("p5.48xlarge")
    assert (p5.vcpus, p5.memory_mib, p5.nvme_gb, p5.arch) == (192, 2097152, 30400, "x86_64")
    assert (p5.accelerator, p5.accelerator_count, p5.efa, p5.efa_max_interfaces) == ("H100-80GB", 8, True, 32)
    assert (p5.network, p5.network_gbps, p5.zones) == ("3200 Gigabit", 3200, ())
    assert not instance_type("g6.xlarge").efa
    assert (instance_type("inf2.48xlarge").accelerator_count, instance_type("trn1.32xlarge").accelerator_count) == (12, 16)
    fractions = {name for name, found in instance_types().items() if found.accelerator_count == 0}
    assert fractions == {"g6f.large", "g6f.xlarge", "g6f.2xlarge", "g6f.4xlarge"}
    assert all(found.source and found.network_gbps for found in instance_types().values())


def test_an_unknown_instance_type_gets_the_nearest() -> None:
    with pytest.raises(UnknownInstanceTypeError) as refused:
        instance_type("p5.48xlrage")
    assert str(refused.value).startswith("p5.48xlrage is not in the instance catalogue; the nearest are p5.48xlarge")


def test_a_price_states_source_and_date_and_is_none_where_nobody_states_one() -> None:
    price = on_demand_price("p5.48xlarge")
    assert price is not None
    assert (price.usd_per_hour, price.date) == (55.04, datetime.date(2026, 7, 20))
    assert price.source.startswith("aws/karpenter-provider-aws")
    assert on_demand_price("p5.48xlarge", "eu-west-1") is None
    assert {name for name in instance_types() if on_demand_price(name) is None} == {
        "p5e.48xlarge",
        "trn2.3xlarge",
        "trn2.48xlarge",
    }


def test_the_catalogue_is_imported_without_pydantic_and_reads_nothing_yet() -> None:
    program = (
        "import sys, planner.catalog.hardware as h; "
        "assert 'pydantic' not in sys.modules; assert h.accelerators.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
