"""The platform of one stack: settings -> cluster -> platform -> models -> exports."""

# ruff: noqa: E402 - what is imported after the first statement is what it is there for

import gc

# The SDKs are hundreds of thousands of objects that live to the end; to look through them again and again for some that do not
# is a quarter of a preview.
gc.set_threshold(100_000, 20, 50)

from pathlib import Path

import pulumi

import apps
import foundation
import settings
from planner.figures import figures
from scale import autoscale, scalers
from serve import controllers, expectations, flows, prepull, serve
from traffic import enter, lead

config = settings.load()
file = settings.stack_file(pulumi.get_stack())
plan = settings.plan(config, file, Path(__file__).parent)

below = foundation.lay(config, plan, file)
cluster = below.cluster

rooms = foundation.partition(config, below, {name: flows(name, config, plan) for name in config.models})
secrets = foundation.make_secrets(config, below, rooms.names)
equipped = foundation.equip(config, below, secrets)
joined = controllers(config, plan, below, rooms)
pulled = prepull(config, plan, below, secrets)
watched = foundation.watch(config, plan, below, secrets)
scaling = scalers(config, below, rooms)
entrance = enter(config, below, rooms, secrets)
servers = {
    name: serve(name, config, plan, below, rooms, secrets, after=[*joined, *equipped[model.node_pool], pulled[model.node_pool]])
    for name, model in config.models.items()
}

for name, server in servers.items():
    space = secrets.namespaces[config.namespace_of(name)]
    autoscale(name, config, plan, below, space, server, watched.prometheus_url, after=[*scaling])

programs = apps.run(config, below, secrets, after=[*entrance.after, *scaling])
led = lead(config, below, secrets, entrance, servers)

pulumi.export("cluster", {"name": config.cluster.name, "identifier": cluster.identifier})
for key, value in below.exports.items():
    pulumi.export(key, value)
pulumi.export("namespaces", rooms.names)
pulumi.export("models", {name: {"url": s.url, "arguments": s.arguments} for name, s in servers.items()})
pulumi.export("gateway", {"certificateAuthority": entrance.certificate_authority})
pulumi.export("routes", {name: route.url for name, route in led.items()})
pulumi.export("apps", {name: {"url": app.url, "address": app.address} for name, app in programs.items()})
pulumi.export("plans", {name: planned.summary() for name, planned in plan.models.items()})
pulumi.export("figures", {name: figures(planned, config.models[name].revision) for name, planned in plan.models.items()})
pulumi.export("monitoring", watched.exports())
pulumi.export("verification", expectations(config, plan, servers))
