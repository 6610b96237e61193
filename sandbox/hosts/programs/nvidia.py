"""nvidia-smi and nvidia-ctk (NVIDIA, "nvidia-smi" manual page; MIG User Guide; NVIDIA Container Toolkit)."""

import re
import uuid
from collections.abc import Callable, Sequence
from fractions import Fraction

from planner.catalog import Accelerator, accelerator
from planner.sharing import mig_profiles
from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.hardware import pci_addresses
from sandbox.hosts.host import Gpu, Host
from sandbox.hosts.programs.options import Options, parse

_NAMESPACE = uuid.UUID("5f1b7a44-6b1c-4d0e-8f57-0d5a3c1f9e21")
_NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is "
    "installed and running."
)
_PENDING_UNTIL_RESET = ("ampere",)
"""Architectures that take another MIG mode with a reset; later ones at once (MIG User Guide, "Enable MIG Mode")."""

# Exit codes as the manual page has them: 2 invalid argument, 3 not supported, 4 no permission, 6 not found, 9 no driver.
_INVALID, _UNSUPPORTED, _PERMISSION, _NOT_FOUND, _DRIVER, _RESOURCES = 2, 3, 4, 6, 9, 19


def nvidia_smi(changed: Callable[[Host], None]) -> Program:
    """nvidia-smi; `changed` is told of hosts whose MIG instances are others now."""

    def program(call: Call) -> int:
        host = call.host
        if host.driver is None:
            raise Refusal(_NO_DRIVER, _DRIVER)
        with host.lock:
            before = [gpu.model_copy(deep=True) for gpu in host.state.gpus]
            try:
                return _mig(call) if call.arguments[:1] == ["mig"] else _plain(call)
            finally:
                if host.state.gpus != before:
                    host.save()
                    changed(host)

    return program


def instances(host: Host) -> dict[str, int]:
    """MIG instances pods can use on a host: profile to number."""
    profiles = [profile for gpu in host.state.gpus if gpu.mig and gpu.computing for profile in gpu.instances]
    return {profile: profiles.count(profile) for profile in dict.fromkeys(profiles)}


def _plain(call: Call) -> int:
    options = parse(
        "nvidia-smi",
        call.arguments,
        {"-L", "--list-gpus", "-q", "--gpu-reset", "-r"},
        {"-i", "--id", "--query-gpu", "--format", "-mig", "-pm"},
    )
    chosen = _chosen(call, options)
    if "-mig" in options.values:
        for number in chosen:
            _set_mode(call, number, options.values["-mig"] in ("1", "ENABLED"))
    elif {"--gpu-reset", "-r"} & options.flags:
        _need_root(call)
        for number in chosen:
            _reset(call, number)
    elif "--query-gpu" in options.values:
        _query(call, options, chosen)
    elif {"-L", "--list-gpus"} & options.flags:
        for number in chosen:
            _list(call, number)
    elif "-pm" not in options.values:
        call.out(f"| NVIDIA-SMI {call.host.driver}    Driver Version: {call.host.driver}    CUDA Version: {_cuda(call.host)} |")
    return 0


def _query(call: Call, options: Options, chosen: Sequence[int]) -> None:
    form = options.values.get("--format", "").split(",")
    if "csv" not in form:
        raise Refusal('"--format=" is required with the query options; use --format=csv', _INVALID)
    names = options.values["--query-gpu"].split(",")
    if "noheader" not in form:
        call.out(", ".join(names))
    for number in chosen:
        known = _fields(call.host, number, "nounits" in form)
        unknown = [name for name in names if name.strip() not in known]
        if unknown:
            raise Refusal(f'Field "{unknown[0]}" is not a valid field to query.', _INVALID)
        call.out(", ".join(known[name.strip()] for name in names))


def _fields(host: Host, number: int, bare: bool) -> dict[str, str]:
    card, gpu = _card(host), host.state.gpus[number]
    mode = {True: "Enabled", False: "Disabled"} if mig_profiles(card.name) else {True: "[N/A]", False: "[N/A]"}
    major, minor = card.compute_capability or (0, 0)
    return {
        "index": str(number),
        "name": card.product,
        "gpu_name": card.product,
        "uuid": _uuid(host, f"GPU {number}", "GPU"),
        "driver_version": str(host.driver),
        "count": str(len(host.state.gpus)),
        "memory.total": f"{int(card.memory_gib * 1024)}" + ("" if bare else " MiB"),
        "mig.mode.current": mode[gpu.mig],
        "mig.mode.pending": mode[gpu.mig_pending],
        "compute_cap": f"{major}.{minor}",
        "pci.bus_id": f"0000{pci_addresses(host.state.spec)[number].upper()}",
    }


def _list(call: Call, number: int) -> None:
    gpu = call.host.state.gpus[number]
    call.out(f"GPU {number}: {_card(call.host).product} (UUID: {_uuid(call.host, f'GPU {number}', 'GPU')})")
    if gpu.mig and gpu.computing:
        for place, profile in enumerate(gpu.instances):
            identity = _uuid(call.host, f"{number} {place} {profile}", "MIG")
            call.out(f"  MIG {profile:<15} Device {place:>2}: (UUID: {identity})")


def _set_mode(call: Call, number: int, on: bool) -> None:
    _need_root(call)
    card, gpu = _card(call.host), call.host.state.gpus[number]
    bus = pci_addresses(call.host.state.spec)[number].upper()
    if not mig_profiles(card.name):
        raise Refusal(f"Unable to {'enable' if on else 'disable'} MIG Mode for GPU 0000{bus}: Not Supported", _UNSUPPORTED)
    if not on and gpu.instances:
        raise Refusal(f"Unable to disable MIG Mode for GPU 0000{bus}: In use by another client", _RESOURCES)
    gpu.mig_pending = on
    if _in_use(call.host):
        call.out(
            f"Warning: MIG mode is in pending {'enable' if on else 'disable'} state for GPU 0000{bus}: In use by another client"
        )
    elif card.architecture in _PENDING_UNTIL_RESET:
        call.out(f"Warning: MIG mode is in pending {'enable' if on else 'disable'} state for GPU 0000{bus}: Reset Required")
    else:
        gpu.mig = on
        call.out(f"{'Enabled' if on else 'Disabled'} MIG Mode for GPU 0000{bus}")
    call.out("All done.")


def _reset(call: Call, number: int) -> None:
    gpu = call.host.state.gpus[number]
    if _in_use(call.host):
        raise Refusal(f"GPU {number} is in use by another client; the reset was not done", _RESOURCES)
    gpu.mig, gpu.instances, gpu.computing = gpu.mig_pending, [], False
    call.out(f"GPU {number} was successfully reset.\nAll done.")


def _mig(call: Call) -> int:
    flags = {"-lgi", "-lgip", "-lci", "-dci", "-dgi", "-C"}
    options = parse("nvidia-smi mig", call.arguments[1:], flags, {"-i", "-cgi", "-gi"})
    chosen = _chosen(call, options)
    gpus = call.host.state.gpus
    if "-lgip" in options.flags:
        for number in chosen:
            for name, kind in mig_profiles(_card(call.host).name).items():
                call.out(f"|   {number}  MIG {name:<16} {kind.count}/{kind.count} {kind.memory_gib or 0:.2f} |")
        return 0
    if not any(gpus[number].mig for number in chosen):
        raise Refusal("No MIG-enabled devices found.", _NOT_FOUND)
    if "-lgi" in options.flags or "-lci" in options.flags:
        for number in chosen:
            for place, profile in enumerate(gpus[number].instances):
                call.out(f"|   {number}  MIG {profile:<16} {place:>4} |")
        if not any(gpus[number].instances for number in chosen):
            raise Refusal("No GPU instances found: Not Found", _NOT_FOUND)
        return 0
    _need_root(call)
    for number in chosen:
        _change(call, options, number)
    return 0


def _change(call: Call, options: Options, number: int) -> None:
    gpu = call.host.state.gpus[number]
    if _in_use(call.host):
        raise Refusal(f"Unable to change instances of GPU {number}: In use by another client", _RESOURCES)
    if "-dci" in options.flags:
        if not gpu.computing:
            raise Refusal("No compute instances found: Not Found", _NOT_FOUND)
        gpu.computing = False
    elif "-dgi" in options.flags:
        if not gpu.instances:
            raise Refusal("No GPU instances found: Not Found", _NOT_FOUND)
        if gpu.computing:
            raise Refusal(f"Unable to destroy GPU instances of GPU {number}: In use by another client", _RESOURCES)
        gpu.instances = []
    elif "-cgi" in options.values:
        _create(call, gpu, number, options.values["-cgi"].split(","))
        gpu.computing = gpu.computing or "-C" in options.flags


def _create(call: Call, gpu: Gpu, number: int, wanted: Sequence[str]) -> None:
    known = mig_profiles(_card(call.host).name)
    for profile in wanted:
        if profile not in known:
            raise Refusal(f"Unable to create a GPU instance on GPU {number} using profile {profile}: Invalid profile", _INVALID)
        if sum(Fraction(1, known[name].count) for name in [*gpu.instances, profile]) > 1:
            raise Refusal(
                f"Unable to create a GPU instance on GPU {number} using profile {profile}: Insufficient Resources\n"
                "Failed to create GPU instances: Insufficient Resources",
                _RESOURCES,
            )
        call.out(f"Successfully created GPU instance ID {len(gpu.instances):>2} on GPU {number} using profile MIG {profile}")
        gpu.instances.append(profile)


def _in_use(host: Host) -> bool:
    """Pods of a running node hold the GPUs."""
    return any(unit in host.state.active for unit in ("k3s.service", "k3s-agent.service"))


def _chosen(call: Call, options: Options) -> list[int]:
    count = len(call.host.state.gpus)
    wanted = options.values.get("-i") or options.values.get("--id")
    if wanted is None:
        return list(range(count))
    if not re.fullmatch(r"\d+(,\d+)*", wanted) or any(int(number) >= count for number in wanted.split(",")):
        raise Refusal("No devices were found", _NOT_FOUND)
    return [int(number) for number in wanted.split(",")]


def _need_root(call: Call) -> None:
    if call.user != 0:
        raise Refusal("Insufficient Permissions", _PERMISSION)


def _card(host: Host) -> Accelerator:
    assert host.state.spec.accelerator is not None  # noqa: S101 - there are GPUs
    return accelerator(host.state.spec.accelerator.product)


def _uuid(host: Host, what: str, kind: str) -> str:
    return f"{kind}-{uuid.uuid5(_NAMESPACE, f'{host.name} {what}')}"


def _cuda(host: Host) -> str:
    """The newest CUDA a driver branch has (CUDA release notes, "CUDA Driver Versions")."""
    branch = int(str(host.driver).partition(".")[0])
    return next((cuda for least, cuda in ((580, "13.0"), (570, "12.8"), (550, "12.4"), (535, "12.2")) if branch >= least), "11.8")


def nvidia_ctk(call: Call) -> int:
    """nvidia-ctk --version."""
    if call.arguments != ["--version"]:
        raise Refusal(f"nvidia-ctk: the rehearsal knows no {' '.join(call.arguments)}", 1)
    version = call.host.state.packages["nvidia-container-toolkit-base"].removesuffix("-1")
    call.out(f"NVIDIA Container Toolkit CLI version {version}\ncommit: rehearsed")
    return 0


PROGRAMS: dict[str, Program] = {"nvidia-ctk": nvidia_ctk}
